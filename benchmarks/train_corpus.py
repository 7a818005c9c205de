"""Token stores and shards for train.py, made by the stage that makes them in a build."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from massivetext.config import Config
from massivetext.pipelines import mix
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine


def write_shards(
    root: Path,
    config: Config,
    stores: Mapping[str, Mapping[str, np.ndarray]],
    vocab_size: int,
    eos_id: int,
) -> None:
    """Write `root/shards` of `config.mixture`.

    Args:
      stores: `subsets` and `heldout`, each the tokens by subset, uint16: one document that ends
        with its last token. A token stands for one byte of text.
      eos_id: stands before the first token; also pads.
    """
    manifest = write_tokens(root, stores, vocab_size, eos_id)
    mix.run(Context(root, Engine(workers=1), quiet=True), config, manifest)


def write_tokens(
    root: Path, stores: Mapping[str, Mapping[str, np.ndarray]], vocab_size: int, eos_id: int
) -> dict[str, Any]:
    """Write the token stores below `root`, as `write_shards`; return the manifest of the stage."""
    return {
        "vocab_size": vocab_size, "dtype": "uint16", "eos_id": eos_id, "pad_id": eos_id,
        "tokenizer_sha256": "", "key": "", "depends": {}, "files": [],
        "subsets": _write(root, "tokens", stores["subsets"]),
        "heldout": _write(root, "tokens/heldout", stores["heldout"]),
    }  # fmt: skip


def _write(root: Path, folder: str, stores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    entries = {}
    for name, tokens in stores.items():
        path = root / folder / name / "part-00000.tokens"
        path.parent.mkdir(parents=True)
        path.write_bytes(tokens.astype("<u2").tobytes())
        path.with_suffix(".documents").write_bytes(np.array([len(tokens)], "<u8").tobytes())
        part = {"path": str(path.relative_to(root)), "tokens": len(tokens), "documents": 1}
        entries[name] = {
            "documents": 1, "tokens": len(tokens), "text_bytes": len(tokens), "parts": [part],
        }  # fmt: skip
    return entries
