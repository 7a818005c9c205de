"""A tiny build: token stores of three subsets with a real tokenizer, and a tiny model for them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.config_train import Mesh, Override
from massivetext.dataset import write_json

from ..tokenizer import models

LENGTH = 32
SUBSETS = ("books", "github", "news")
DOCUMENTS = {"books": 40, "github": 25, "news": 12}
HELD_OUT = 3
WEIGHTS = {"books": 0.5, "github": 0.3, "news": 0.2}
TRAIN = Train(
    override=Override(layers=2, d_model=32, heads=2, kv_size=16),
    steps=6,
    batch_size=4,
    warmup_steps=2,
    learning_rate=1e-2,
    evaluate_sequences=8,
    mesh=Mesh(data=1),
)


def config(root: Path, **changes: Any) -> Config:
    """Return a config of the build in `root`, whose `mixture` is 8,192 tokens."""
    values = {
        "output": str(root),
        "subsets": {name: Subset(input=("x",)) for name in SUBSETS},
        "mixture": Mixture(weights=WEIGHTS, tokens=8192, sequence_length=LENGTH, max_epochs=8.0),
        "train": TRAIN,
    }
    return Config(**{**values, **changes})


def documents(subset: str, count: int) -> list[str]:
    """Return texts of words that each subset has for itself, always the same."""
    rng = random.Random(f"{subset}/{count}")
    words = random.Random(subset).sample(models.SYLLABLES, 6)
    return [" ".join(rng.choices(words, k=rng.randint(20, 60))) for _ in range(count)]


def write_build(root: Path) -> Path:
    """Write `tokenizer/`, `tokens/` and their manifest."""
    tokenizer = models.tokenizer("chinchilla")
    (root / "tokenizer").mkdir(parents=True)
    (root / "tokenizer" / "tokenizer.model").write_bytes(models.model("chinchilla"))
    subsets, heldout = {}, {}
    for name in SUBSETS:
        texts = documents(name, DOCUMENTS[name] + HELD_OUT)
        subsets[name] = _store(root, f"tokens/{name}", texts[HELD_OUT:], tokenizer)
        heldout[name] = _store(root, f"tokens/heldout/{name}", texts[:HELD_OUT], tokenizer)
    manifest = {
        "vocab_size": tokenizer.vocab_size,
        "dtype": "uint16",
        "eos_id": tokenizer.eos_id,
        "pad_id": tokenizer.pad_id,
        "tokenizer_sha256": tokenizer.sha256,
        "key": "k",
        "depends": {},
        "files": [],
        "subsets": subsets,
        "heldout": heldout,
    }
    write_json(root / "manifests" / "tokens.json", manifest)
    return root


def _store(root: Path, folder: str, texts: Sequence[str], tokenizer: Any) -> dict[str, Any]:
    encoded = [np.append(tokenizer.encode(text), tokenizer.eos_id) for text in texts]
    path = root / folder / "part-00000.tokens"
    path.parent.mkdir(parents=True)
    tokens = np.concatenate(encoded).astype("<u2")
    path.write_bytes(tokens.tobytes())
    ends = np.cumsum([len(document) for document in encoded])
    path.with_suffix(".documents").write_bytes(ends.astype("<u8").tobytes())
    part = {
        "path": f"{folder}/part-00000.tokens",
        "tokens": len(tokens),
        "documents": len(encoded),
    }
    text_bytes = sum(len(text.encode()) for text in texts)
    return {
        "documents": len(encoded),
        "tokens": len(tokens),
        "text_bytes": text_bytes,
        "parts": [part],
    }
