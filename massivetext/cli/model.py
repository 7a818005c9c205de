"""`massivetext model PRESET`: what a model is and costs, told beforehand."""

import argparse
import importlib.util
import json
from dataclasses import fields

from ..config_file import parse
from ..config_train import Train
from ..errors import ConfigError, MassivetextError, nearest
from ..presets import MODELS, ModelShape


def run(options: argparse.Namespace) -> int:
    if options.preset not in MODELS:
        raise ConfigError(
            f"there is no model preset {options.preset!r}{nearest(options.preset, MODELS)}"
        )
    preset = MODELS[options.preset]
    train = _train(options)
    vocab, length = _sizes(options, preset)
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    import jax

    jax.config.update("jax_platforms", "cpu")  # nothing is computed: leave accelerators alone
    from massivetext.trainer.describe import describe, text

    mesh = {"data": train.mesh.data or 1, "fsdp": train.mesh.fsdp, "tensor": train.mesh.tensor}
    description = describe(train, vocab, length, mesh)
    print(json.dumps(description, indent=2) if options.json else text(description))
    return 0


def _train(options: argparse.Namespace) -> Train:
    """Return the preset's part of a config, after `--set` and its short forms."""
    keys = {field.name for field in fields(Train)}
    overrides = []
    for override in options.overrides:
        # d_model=... is of the dimensions; optimizer=... or mesh.data=... of training.
        first = override.partition("=")[0].partition(".")[0]
        if first == "model":
            raise ConfigError(f"--set {override}: name the model as PRESET instead")
        overrides.append(f"train.{'' if first in keys else 'override.'}{override}")
    if options.precision is not None:
        overrides.append(f"train.precision={options.precision}")
    if options.batch is not None:
        overrides.append(f"train.batch_size={options.batch}")
    for part in filter(None, options.mesh.split(",")):
        if "=" not in part:
            raise ConfigError(
                f"--mesh is {options.mesh!r}; it must be AXIS=DEVICES, such as fsdp=4,tensor=2"
            )
        overrides.append(f"train.mesh.{part.strip()}")
    base = f"output: none\nsubsets: {{none: {{input: none}}}}\ntrain: {{model: {options.preset}}}\n"
    return parse(base, f"the preset {options.preset}", overrides).config.train


def _sizes(options: argparse.Namespace, preset: ModelShape) -> tuple[int, int]:
    """Return the vocabulary and the length of sequences: the paper's unless given."""
    vocab = preset.vocab_size if options.vocab is None else options.vocab
    length = preset.context if options.length is None else options.length
    for flag, value in (("--vocab", vocab), ("--length", length)):
        if value < 1:
            raise ConfigError(f"{flag} is {value}; it must be at least 1")
    return vocab, length
