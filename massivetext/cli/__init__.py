"""The command line: plain verbs, heavy imports only inside the command that needs them."""
