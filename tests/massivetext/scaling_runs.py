"""Runs that a known law made."""

import numpy as np

from massivetext.scaling.runs import Runs


def made(law, parameters, tokens, noise=0.0, seed=0, lines=None):
    generator = np.random.Generator(np.random.PCG64(seed))
    loss = law.loss(parameters, tokens) * np.exp(noise * generator.normal(size=len(parameters)))
    lines = np.arange(len(parameters)) + 2 if lines is None else lines
    return Runs(parameters, tokens, 6 * parameters * tokens, loss, lines).sorted()
