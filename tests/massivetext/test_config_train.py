"""The section `train`: what does not fit together is said before anything is computed."""

import pytest

from massivetext.config_file import parse
from massivetext.config_train import Mesh, Override, Samples, Spikes
from massivetext.errors import ConfigError

HEAD = "output: out\nsubsets:\n  books: {input: a.jsonl}\ntrain:\n"
RAMP = "  batch_ramp:\n    points:\n"


def load(text):
    return parse(HEAD + text, "my.yaml").config.train


def refused(text):
    with pytest.raises(ConfigError) as found:
        load(text)
    return str(found.value)


def points(*pairs):
    rows = [f"      - {{sequences: {s}, batch_size: {b}}}\n" for s, b in pairs]
    return RAMP + "".join(rows)


def test_sections_are_read():
    train = load(
        "  override: {layers: 2, positions: rotary, qk_norm: true}\n"
        "  batch_size: 8\n  micro_batch_size: 2\n"
        "  mesh: {fsdp: 2, tensor: 4, partition_optimizer: true}\n"
        '  spikes: {skip: 300}\n  samples: {prompts: [Once upon a time, ""], tokens: 20}\n'
        + points((0, 2), (100, 6), (300, 8))
        + "    form: linear\n"
    )
    assert train.override.given() == {"layers": 2, "positions": "rotary", "qk_norm": True}
    assert train.mesh == Mesh(data=None, fsdp=2, tensor=4, partition_optimizer=True)
    assert train.spikes == Spikes(skip=300, rewind=100, window=128, deviations=6.0)
    assert train.samples == Samples(prompts=("Once upon a time", ""), tokens=20)
    assert train.batch_ramp is not None
    assert train.batch_ramp.form == "linear"
    assert [(p.sequences, p.batch_size) for p in train.batch_ramp.points] == [
        (0, 2),
        (100, 6),
        (300, 8),
    ]


def test_nothing_is_overridden_by_default():
    train = load("  steps: 3\n")
    assert train.override == Override()
    assert train.override.given() == {}
    assert train.spikes is None
    assert train.samples is None
    assert train.batch_ramp is None


def test_samples_at_their_limits():
    many = [f"{number}" for number in range(16)]
    assert load(f"  samples: {{prompts: {many}, tokens: 256}}\n").samples.prompts == tuple(many)
    assert load("  samples: {prompts: One, tokens: 1}\n").samples == Samples(("One",), 1)
    long = "x" * 1000
    assert load(f"  samples: {{prompts: [{long}]}}\n").samples == Samples((long,), 48)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  optimizer: adamx\n", "did you mean 'adam'?"),
        ("  schedule: cosin\n", "did you mean 'cosine'?"),
        ("  decay: couple\n", "did you mean 'coupled'?"),
        ("  remat: fulll\n", "did you mean 'full'?"),
        ("  precision: bfloat\n", "did you mean 'bfloat16'?"),
        ("  override: {positions: rotery}\n", "did you mean 'rotary'?"),
        ("  override: {qk_norm: 1}\n", "train.override.qk_norm is '1'; it must be true or false"),
        ("  z_loss: -0.1\n", "z_loss is -0.1; it must be at least 0"),
        ("  learning_rate: 0\n", "learning_rate is 0.0; it must be more than 0"),
        ("  stochastic_rounding: true\n", "stochastic_rounding rounds bfloat16 parameters"),
        ("  mesh: {data: 0}\n", "data is 0; it must be more than 0"),
        ("  spikes: {window: 7}\n", "window is 7; a deviation needs at least 8 losses"),
        ("  spikes: {rewind: -1}\n", "rewind and skip must be at least 0"),
        ("  samples: {prompts: []}\n", "my.yaml:5: train.samples: prompts are 0; give 1 to 16"),
        (f"  samples: {{prompts: {[*'abcdefghijklmnopq']}}}\n", "prompts are 17; give 1 to 16"),
        ("  samples: {prompts: [a, b, a]}\n", "the prompt 'a' is given twice"),
        (f"  samples: {{prompts: {'y' * 1001}}}\n", "'... has 1,001 characters; at most 1,000"),
        ("  samples: {prompts: a, tokens: 0}\n", "tokens is 0; it must be from 1 to 256"),
        ("  samples: {prompts: a, tokens: 257}\n", "tokens is 257; it must be from 1 to 256"),
        ("  samples: {}\n", "my.yaml:5: train.samples lacks the key 'prompts'"),
        ("  samples: {prompt: [a]}\n", "'prompt' in train.samples; did you mean 'prompts'?"),
        ("  sample: {prompts: [a]}\n", "'sample' in train; did you mean 'samples'?"),
        ("  micro_batch_size: 3\n", "micro_batch_size 3 does not divide the batch of 8"),
        (points((0, 4), (9, 8)), "batch_ramp needs micro_batch_size"),
        (
            "  micro_batch_size: 2\n" + points((0, 4), (9, 6)),
            "batch_ramp ends at 6; batch_size is 8",
        ),
        ("  micro_batch_size: 2\n" + points((0, 3), (9, 8)), "does not divide the batch of 3"),
        ("  micro_batch_size: 2\n" + points((1, 8)), "points must begin with sequences: 0"),
        (
            "  micro_batch_size: 2\n" + points((0, 4), (9, 8), (9, 16)),
            "the point at 9 sequences must lie after the one at 9",
        ),
        ("  micro_batch_size: 2\n" + points((0, 8), (9, 8)), "its batch of 8 be larger than 8"),
    ],
)
def test_mistakes_are_named(text, expected):
    assert expected in refused(text)
