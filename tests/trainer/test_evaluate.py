"""Bits per byte of held-out sets, whole and in part."""

import math

import jax.numpy as jnp
import pytest

from massivetext.shards import Shards
from massivetext.trainer.evaluate import (
    evaluate_params,
    make_score,
)
from massivetext.trainer.parameters import dimensions, initialise

from . import tiny


def uniform(params):
    """A model of zeros gives every token the same probability: bits per byte are known exactly."""
    return {**params, "final_norm": jnp.zeros_like(params["final_norm"])}


def test_part_of_the_held_out_set_scales_its_bytes(tmp_path):
    shards = Shards.open(tiny.write_shards(tmp_path) / "shards")
    size = dimensions(tiny.TRAIN, tiny.VOCAB, tiny.LENGTH)
    params, score = uniform(initialise(size, 1)), make_score(size, "float32")
    for sequences, targets in ((5, 71), (64, 71), (2, 32), (1, 16)):
        loss = evaluate_params(params, shards, score, 4, sequences)["books"]
        assert (loss.targets, loss.of_sequences) == (targets, 5)
        assert loss.text_bytes == pytest.approx(300 * targets / 71)
        assert loss.loss == pytest.approx(math.log(61), rel=1e-6)
        assert loss.bits_per_byte == pytest.approx(71 * math.log2(61) / 300, rel=1e-6)
