"""Scaling laws: how large a model, on how many tokens, for the compute there is.

`runs` reads losses of finished runs; `envelope`, `isoflop` and `parametric` are the three
approaches of Hoffmann et al. (2022), `kaplan` the earlier laws. `fit` brings them together and
`predict` applies them.
"""
