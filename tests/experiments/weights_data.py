"""A build whose subsets differ in what there is to learn, and a tiny proxy to train on it."""

import json
from pathlib import Path

import numpy as np
import pytest

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.config_train import Mesh, Override
from massivetext.config_tune import Tune
from massivetext.dataset import sha256_file, write_json
from massivetext.trainer.schedule import learning_rate

VOCAB, LENGTH = 32, 16
PAD, EOS = 0, 1
# Counting is learned at once, noise never.
SUBSETS = ("counting", "noise", "pairs")
DOCUMENT = 79
DOCUMENTS = 60


def documents(name: str) -> np.ndarray:
    """Tokens of a subset's documents, uint16 [DOCUMENTS, DOCUMENT], each to be closed by EOS."""
    random = np.random.default_rng(SUBSETS.index(name))
    shape = (DOCUMENTS, DOCUMENT)
    if name == "counting":
        tokens = random.integers(2, VOCAB, (DOCUMENTS, 1)) - 2 + np.arange(DOCUMENT)
        return (tokens % (VOCAB - 2) + 2).astype("<u2")
    drawn = random.integers(2, VOCAB, shape).astype("<u2")
    if name == "pairs":
        drawn[:, 1::2] = drawn[:, 0:-1:2]
    return drawn


def write_stores(root: Path) -> Path:
    """Write token stores, and a held-out document of each subset, as the stage `tokens` does."""
    stores: dict[str, dict] = {"subsets": {}, "heldout": {}}
    for name in SUBSETS:
        whole = np.pad(documents(name), ((0, 0), (0, 1)), constant_values=EOS).astype("<u2")
        for kind, rows in (("subsets", whole[1:]), ("heldout", whole[:1])):
            folder = "tokens/heldout" if kind == "heldout" else "tokens"
            path = root / folder / name / "part-00000.tokens"
            path.parent.mkdir(parents=True)
            path.write_bytes(rows.tobytes())
            ends = (np.arange(len(rows)) + 1) * rows.shape[1]
            path.with_suffix(".documents").write_bytes(ends.astype("<u8").tobytes())
            about = {"documents": len(rows), "tokens": rows.size, "text_bytes": rows.size * 3}
            part = {"path": str(path.relative_to(root)), **about, "sha256": sha256_file(path)}
            stores[kind][name] = {**about, "parts": [part]}
    tokenizer = {"dtype": "uint16", "vocab_size": VOCAB, "tokenizer_sha256": "0" * 64}
    manifest = {**stores, **tokenizer, "eos_id": EOS, "pad_id": PAD}
    write_json(root / "manifests" / "tokens.json", manifest)
    return root


def config(*, mixture: dict | None = None, **train) -> Config:
    plan = Train(
        override=Override(layers=2, heads=2, kv_size=8, d_model=16),
        **{
            "steps": 40,
            "batch_size": 6,
            "learning_rate": 1e-2,
            "checkpoint_every": 15,
            "evaluate_sequences": 2,
            "mesh": Mesh(data=1),
            "remat": "none",
            **train,
        },
    )
    weights = dict.fromkeys(SUBSETS, 1 / 3)
    return Config(
        output="unused",
        seed=7,
        subsets={name: Subset(input=("x",)) for name in SUBSETS},
        mixture=Mixture(
            **{
                "weights": weights,
                "tokens": 6000,
                "sequence_length": LENGTH,
                "max_epochs": 4.0,
                **(mixture or {}),
            }
        ),
        tune=Tune(train=plan),
    )


def trajectory(folder: Path) -> list[dict]:
    return json.loads((folder / "trajectory.json").read_text())


class Killed(BaseException):
    """As if the process had ended: nothing may catch it and tidy up."""


def train_killed(train, root: Path, folder: Path, monkeypatch) -> None:
    """Call `train` until its 20th step, where it dies."""

    def kill(plan, step):
        if step == 20:
            raise Killed
        return learning_rate(plan, step)

    with monkeypatch.context() as patched:
        patched.setattr("massivetext.experiments.weight_run.learning_rate", kill)
        with pytest.raises(Killed):
            train(root, config(), folder, None)
    assert (folder / "checkpoints" / "15").is_dir()
