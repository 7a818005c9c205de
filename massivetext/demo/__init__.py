"""The demo: a corpus from text that is already on this machine, and the config that builds it."""
