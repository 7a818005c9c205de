"""Operations by hand, by the papers' tables, and the share of the peak that papers report."""

import pytest

from massivetext.config import Train
from massivetext.config_train import Override
from massivetext.trainer.flops import (
    PEAKS,
    flops_per_token,
    forward_flops,
    forward_parts,
    mfu,
    palm_flops_per_token,
)
from massivetext.trainer.parameters import dimensions, parameter_count


def decoder(model="gopher-44m", vocab=32_000, **changes):
    return dimensions(Train(model=model, override=Override(**changes)), vocab, 2048)


@pytest.mark.parametrize(
    ("layers", "d", "heads", "kv", "ratio"),
    [
        (10, 640, 10, 64, 1.03),
        (20, 1024, 16, 64, 1.10),
        (24, 1280, 10, 128, 1.08),
        (26, 1792, 14, 128, 1.04),
        (28, 2048, 16, 128, 1.03),
        (40, 3584, 28, 128, 0.99),
    ],
)
def test_chinchilla_table_a4(layers, d, heads, kv, ratio):
    """Operations over 6·N·D, which leaves out embedding and logits."""
    size = decoder(layers=layers, d_model=d, heads=heads, kv_size=kv)
    measured = flops_per_token(size, 2048, embedding=False) / (6 * parameter_count(size))
    assert measured == pytest.approx(ratio, abs=0.011)


def test_gopher_by_hand():
    size = decoder(vocab=10, layers=2, heads=1, kv_size=2, d_model=4)
    assert forward_parts(size, 3) == {
        "embedding": 240,
        "projections": 2 * (144 + 48),
        "scores": 2 * (36 + 27 + 36),
        "feed_forward": 2 * 768,
        "logits": 240,
    }
    assert forward_flops(size, 3, embedding=False) == 2 * (144 + 48 + 36 + 27 + 36 + 768)
    assert forward_flops(size, 3) - forward_flops(size, 3, embedding=False) == 480
    assert flops_per_token(size, 3) == forward_flops(size, 3)  # three passes' worth, three tokens


def test_palm_by_hand():
    """One head of keys and values for three of queries, and SwiGLU's three matrices."""
    size = decoder("palm-8b", 10, layers=2, heads=3, kv_size=2, d_model=4, ffw=5)
    assert size.kv_heads == 1
    assert forward_parts(size, 7) == {
        "embedding": 2 * 7 * 10 * 4,
        "projections": 2 * (2 * 7 * 4 * (6 + 2 + 2) + 2 * 7 * 6 * 4),
        "scores": 2 * (2 * 49 * 6 + 3 * 3 * 49 + 2 * 49 * 6),
        "feed_forward": 2 * 2 * 7 * 3 * 4 * 5,
        "logits": 2 * 7 * 10 * 4,
    }


@pytest.mark.parametrize("positions", ["relative", "rotary", "learned", "alibi", "none"])
def test_positions_do_not_count(positions):
    assert forward_parts(decoder(positions=positions), 64) == forward_parts(decoder(), 64)


def test_layers_are_twice_their_matrices_per_token():
    """The count, without scores, follows from the parameter table of every family."""
    for model in ("gopher-1.4b", "palm-8b", "gpt3-1.3b"):
        size = decoder(model, positions="none")
        parts = forward_parts(size, 1)
        layers = parts["projections"] + parts["feed_forward"]
        matrices = parameter_count(size) - size.vocab_size * size.d_model
        assert layers == pytest.approx(2 * matrices, rel=1e-3)  # but for biases


@pytest.mark.parametrize(
    ("model", "vocab", "tokens_per_second", "devices", "kind", "share"),
    [
        # PaLM, Table 3: 238.3 thousand tokens per second on 6,144 TPU v4; without attention 45.7 %.
        ("palm-540b", 256_000, 238_300, 6144, "TPU v4", 0.462),
        # MT-NLG there: 65.43 thousand on 2,240 A100.
        ("mt_nlg-530b", 51_200, 65_430, 2240, "NVIDIA A100-SXM4-80GB", 0.302),
        # Gopher there: 0.0152 steps per second of 6 million tokens on 4,096 TPU v3 chips, which
        # are 8,192 devices of JAX.
        ("gopher-280b", 32_000, 0.0152 * 3072 * 2048, 4096 * 2, "TPU v3", 0.325),
    ],
)
def test_published_utilisation(model, vocab, tokens_per_second, devices, kind, share):
    size = decoder(model, vocab)
    assert mfu(tokens_per_second, size, 2048, devices, kind) == pytest.approx(share, abs=0.006)


def test_utilisation_by_hand():
    size = decoder(vocab=100, layers=2, heads=3, kv_size=4, d_model=8)
    assert palm_flops_per_token(size, 16) == 6 * parameter_count(size) + 12 * 2 * 3 * 4 * 16
    speed = 2 * 312e12 / palm_flops_per_token(size, 16)
    assert mfu(speed, size, 16, 2, "NVIDIA A100-SXM4-40GB") == pytest.approx(1.0)


def test_the_peak_of_an_unknown_device_is_not_guessed():
    assert mfu(1e6, decoder(), 2048, 1, "cpu") is None
    assert mfu(1e6, decoder(), 2048, 1, "NVIDIA H999") is None
    assert PEAKS["NVIDIA H200"] == 989e12  # dense: the data sheet prints twice as much, sparse
