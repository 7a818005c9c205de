"""Every published size against the number its paper prints. Nothing is allocated."""

import math
from collections import Counter

import jax
import pytest

from massivetext.config import Train
from massivetext.config_train import Override
from massivetext.errors import ConfigError
from massivetext.presets import MODELS
from massivetext.trainer.families import FAMILIES
from massivetext.trainer.parameters import (
    Dimensions,
    dimensions,
    initialise,
    parameter_count,
    table,
)

# Chinchilla, Table A9, in millions. The six marked have heads · kv_size unequal to d_model.
LADDER = (
    "44 57 74 90 106 117 140 163 175 196 217 251 278 306 425 489 509 552 587 632 664 724 816 893 "
    "1018 1143 1266 1424 1429 1593 1609 1731 1794 2007 2283 2298 2639 2980 3530 3802 4084 4516 "
    "6796 9293 11452 12295 12569 13735 14940 16183"
).split()
UNEQUAL = "3530 4084 11452 12569 13735 14940".split()

# Figures with enough digits for a tolerance of 0.1 %: Gopher's Table 1 counted by its matrices
# alone, PaLM's Table 1, and the sizes behind GPT-3's Table D.1.
TO_A_THOUSANDTH = {
    "gopher-1.4b": 1.374e9,
    "gopher-7.1b": 7.11e9,
    "gopher-280b": 279.7e9,
    "chinchilla-70b": 70.06e9,
    "palm-8b": 8.63e9,
    "palm-62b": 62.50e9,
    "palm-540b": 540.35e9,
    "gpt3-2.7b": 2.650e9,
    "gpt3-6.7b": 6.660e9,
    "gpt3-13b": 12.850e9,
    "gpt3-175b": 174.600e9,
}
# Printed with two or three digits: the count rounds to them.
ROUNDED = {
    "gopher-44m": (44, 1e6),
    "gopher-117m": (117, 1e6),
    "gopher-417m": (417, 1e6),
    "gpt3-125m": (125, 1e6),
    "gpt3-350m": (356, 1e6),
    "gpt3-760m": (760, 1e6),
    "gpt3-1.3b": (132, 1e7),
    "mt_nlg-530b": (530, 1e9),
}

# layers, heads, kv_size, d_model, as printed
DIMENSIONS = {
    "gopher-44m": (8, 16, 32, 512),
    "gopher-117m": (12, 12, 64, 768),
    "gopher-417m": (12, 12, 128, 1536),
    "gopher-1.4b": (24, 16, 128, 2048),
    "gopher-7.1b": (32, 32, 128, 4096),
    "gopher-280b": (80, 128, 128, 16384),
    "chinchilla-70b": (80, 64, 128, 8192),
    "chinchilla-44m": (8, 8, 64, 512),
    "chinchilla-4084m": (36, 22, 128, 2944),
    "chinchilla-16183m": (47, 40, 128, 5120),
    "palm-8b": (32, 16, 256, 4096),
    "palm-62b": (64, 32, 256, 8192),
    "palm-540b": (118, 48, 256, 18432),
    "gpt3-125m": (12, 12, 64, 768),
    "gpt3-760m": (24, 16, 96, 1536),
    "gpt3-2.7b": (32, 32, 80, 2560),
    "gpt3-175b": (96, 96, 128, 12288),
    "mt_nlg-530b": (105, 128, 160, 20480),
}


def published(name: str) -> Dimensions:
    shape = MODELS[name]
    return dimensions(Train(model=name), shape.vocab_size, shape.context)


def test_every_preset_is_checked_here():
    ladder = {f"chinchilla-{millions}m" for millions in LADDER}
    assert set(MODELS) == ladder | set(TO_A_THOUSANDTH) | set(ROUNDED)
    assert len(ladder) == 50
    families = Counter(shape.family for shape in MODELS.values())
    assert families == {"gopher": 57, "palm": 3, "gpt3": 9}


@pytest.mark.parametrize("name", TO_A_THOUSANDTH)
def test_within_a_thousandth_of_the_published_size(name):
    count = parameter_count(published(name))
    assert count == pytest.approx(TO_A_THOUSANDTH[name], rel=1e-3)


@pytest.mark.parametrize("name", ROUNDED)
def test_rounds_to_the_published_size(name):
    figure, unit = ROUNDED[name]
    assert round(parameter_count(published(name)) / unit) == figure


@pytest.mark.parametrize("millions", LADDER)
def test_the_ladder_to_the_million(millions):
    size = published(f"chinchilla-{millions}m")
    count = parameter_count(size)
    assert abs(count / 1e6 - int(millions)) <= 0.5
    d, f, a = size.d_model, size.ffw, size.heads * size.kv_size
    layer = 5 * d * a + 2 * d * f + 3 * a + d + (d + f) + 2 * a
    assert count == size.vocab_size * d + size.layers * layer
    assert (a != d) == (millions in UNEQUAL)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimensions_as_printed(name):
    size = published(name)
    assert (size.layers, size.heads, size.kv_size, size.d_model) == DIMENSIONS[name]
    assert size.ffw == 4 * size.d_model
    assert size.kv_heads == (1 if name.startswith("palm") else size.heads)
    assert size.context == 2048


def test_sizes_by_hand():
    # 32000·512 + 8·(5·512·512 + 2·512·2048 + 3·512 + 512 + 512 + 2048 + 2·512)
    assert parameter_count(published("gopher-44m")) == 43_692_032
    # 256000·4096 + 32·(2·4096·16·256 + 2·4096·256 + 3·4096·16384); norms 33·4096
    assert parameter_count(published("palm-8b")) == 8_631_877_632
    assert parameter_count(published("palm-8b"), norms=True) == 8_631_877_632 + 33 * 4096
    # 50257·768 + 2048·768 + 12·(12·768² + 9·768); norms 25·2·768. GPT-2's 124,439,808 has a
    # context of 1,024.
    count = parameter_count(published("gpt3-125m"), norms=True)
    assert count == 50_257 * 768 + 2048 * 768 + 12 * (12 * 768**2 + 9 * 768) + 25 * 2 * 768
    assert count - 1024 * 768 == 124_439_808


def test_learning_rates():
    rates = [MODELS[f"chinchilla-{millions}m"].learning_rate for millions in LADDER]
    assert (rates[0], rates[-1]) == (2e-4, 1.25e-4)
    assert rates == sorted(rates, reverse=True)
    assert MODELS["palm-540b"].learning_rate == 1e-2
    assert MODELS["gpt3-175b"].learning_rate == 0.6e-4


def names(**override) -> set[str]:
    model = override.pop("model", "gopher-44m")
    return set(table(dimensions(Train(model=model, override=Override(**override)), 32_000, 64)))


def test_each_family_has_its_parameters():
    gopher, palm, gpt3 = (names(model=m) for m in ("gopher-44m", "palm-8b", "gpt3-125m"))
    assert not [name for name in palm if name.endswith("bias")]
    kernels = {"query", "key", "value", "output", "gate", "up", "down"}
    assert palm == kernels | {"embedding", "block_norm", "final_norm"}
    assert gpt3 - gopher == {
        "position_embedding",
        "attention_norm_bias",
        "ffw_norm_bias",
        "final_norm_bias",
    }
    assert gopher - gpt3 == {"position", "content_bias", "position_bias"}


def test_options_add_their_parameters_alone():
    assert names(positions="rotary") == names(positions="none") == names(positions="alibi")
    assert names(positions="relative", model="gpt3-125m") >= {"position", "content_bias"}
    assert names(positions="learned") - names(positions="none") == {"position_embedding"}
    assert names(qk_norm=True) - names() == {"query_norm", "key_norm"}
    size = dimensions(
        Train(model="palm-8b", override=Override(positions="relative")), 256_000, 2048
    )
    # With one head of keys, each of the query heads still has its own view of distance.
    assert table(size)["position"].shape == (32, 4096, 16, 256)
    assert table(size)["key"].shape == (32, 4096, 1, 256)
    assert table(size)["key"].axes == ("layers", "embed", "kv_heads", "kv")
    learned = dimensions(Train(override=Override(positions="learned")), 32_000, 77)
    assert table(learned)["position_embedding"].shape == (77, 512)


def test_initial_deviations():
    palm, gpt3 = table(published("palm-8b")), table(published("mt_nlg-530b"))
    assert palm["embedding"].scale == 1.0
    assert palm["output"].scale == (16 * 256) ** -0.5
    assert palm["down"].scale == 16384**-0.5
    # MT-NLG: sqrt(1 / (3·20480)), about 0.004, and 1/sqrt(2N) of it at the end of each residual
    assert gpt3["down"].scale == pytest.approx(0.00403 / math.sqrt(210), rel=2e-3)
    others = [row for name, row in gpt3.items() if row.decay and name not in ("output", "down")]
    assert {row.scale for row in others} == {gpt3["up"].scale}
    assert gpt3["embedding"].scale == gpt3["up"].scale == pytest.approx(0.00403, rel=2e-3)
    assert table(published("gpt3-125m"))["query"].scale == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_is_consistent(family):
    name = {"gopher": "gopher-44m", "palm": "palm-8b", "gpt3": "gpt3-125m"}[family]
    size = dimensions(Train(model=name, override=Override(qk_norm=True)), 100, 64)
    made = jax.eval_shape(lambda: initialise(size, 0))
    shapes = {name: array.shape for name, array in made.items()}
    for name, row in table(size).items():
        assert len(row.shape) == len(row.axes)
        assert row.decay == (row.scale > 0), name
        assert row.counted == ("norm" not in name), name
        assert shapes[name] == row.shape
    assert parameter_count(size, norms=True) == sum(math.prod(s) for s in shapes.values())


def test_overrides():
    size = dimensions(Train(override=Override(layers=3, d_model=10)), 100, 64)
    assert (size.layers, size.heads, size.kv_size, size.d_model, size.ffw) == (3, 16, 32, 10, 40)
    assert dimensions(Train(override=Override(ffw=9)), 100, 64).ffw == 9
    assert dimensions(Train(override=Override(heads=6)), 100, 64).kv_heads == 6
    assert dimensions(Train(override=Override(heads=6, kv_heads=3)), 100, 64).kv_heads == 3
    assert Dimensions(**size.to_json()) == size


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"d_model": 7}, "d_model is 7; it must be even for relative positions"),
        ({"kv_size": 7, "positions": "rotary"}, "kv_size is 7; it must be even for rotary"),
        ({"kv_heads": 3}, "heads is 16; kv_heads, 3, must divide it"),
    ],
)
def test_sizes_that_cannot_be(override, message):
    with pytest.raises(ConfigError, match=message):
        dimensions(Train(override=Override(**override)), 100, 64)


def test_odd_sizes_that_can_be():
    train = Train(override=Override(d_model=7, kv_size=7, positions="alibi"))
    assert dimensions(train, 100, 64).d_model == 7
