"""Better sampling proportions from small runs: draw mixtures, fit their losses, propose weights."""
