"""A trained model as one safetensors file, whose names and shapes are those of `parameters.table`.

A tensor is named as its row of the table; the rows of the layers, which the trainer stacks, are cut
into `layers.<i>.<row>`, i from 0. `D H G K F V` are the dimensions of `parameters`. Which of them a
model has, its family, positions and `qk_norm` decide.

    embedding                    [V, D]     of the tokens, and transposed the matrix of the logits
    position_embedding           [T, D]     learned positions, added to the embedding of the tokens
    layers.<i>.attention_norm    [D]        scale of the norm before attention; `_bias` its bias
    layers.<i>.ffw_norm          [D]        the same, before the feed-forward layer
    layers.<i>.block_norm        [D]        PaLM: the one norm before both
    layers.<i>.query             [D, H, K]  x [D] -> head h, component k; `_bias` [H, K]
    layers.<i>.key, .value       [D, G, K]  the same; head h of the queries reads h // (H / G)
    layers.<i>.query_norm, .key_norm  [K]   qk_norm: scale of an RMS norm of each head
    layers.<i>.position          [D, H, K]  relative: W_R of Transformer-XL
    layers.<i>.content_bias, .position_bias  [H, K]   relative: u and v of Transformer-XL
    layers.<i>.output            [H, K, D]  from all heads back to the residual stream; `_bias` [D]
    layers.<i>.gate              [D, F]     PaLM: of SwiGLU, Swish(x · gate) · (x · up)
    layers.<i>.up, .down         [D, F], [F, D]   feed-forward layer; `_bias` [F], [D]
    final_norm                   [D]        scale of the norm before the logits; `_bias` its bias

The header's `__metadata__` says where it comes from: `format` (massivetext), `version`,
`dimensions` (JSON), `tokenizer_sha256`, `shards` (sha256 of their manifest) and `step`.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from massivetext.config import Config
from massivetext.errors import StageError
from massivetext.storage import Location
from massivetext.trainer.data import fingerprint
from massivetext.trainer.parameters import Dimensions, Params, table

from .trained import load

FORMAT, VERSION = "massivetext", "1"


def export(root: Location, config: Config, path: Path) -> int:
    """Write the last checkpoint of the run in `root` to `path`, in the types it was trained in.

    Returns:
      The bytes written.

    Raises:
      InputError: there are no shards or no checkpoint, or they cannot be read.
      ConfigError: the checkpoint is of another model, or was trained on other shards.
      StageError: it cannot be written; what was at `path` before is still there.
    """
    trained = load(root, config)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "dimensions": json.dumps(trained.size.to_json()),
        "tokenizer_sha256": trained.shards.manifest["tokenizer_sha256"],
        "shards": fingerprint(trained.shards),
        "step": str(trained.step),
    }
    return write(path, tensors(trained.params, trained.size), metadata)


def tensors(params: Params, size: Dimensions) -> dict[str, npt.NDArray[Any]]:
    """Return the parameters by their names in the file, those of the layers cut apart."""
    named: dict[str, npt.NDArray[Any]] = {}
    for name, row in table(size).items():
        array = np.asarray(params[name])
        if row.stacked:
            named |= {f"layers.{i}.{name}": layer for i, layer in enumerate(array)}
        else:
            named[name] = array
    return named


def write(path: Path, arrays: dict[str, npt.NDArray[Any]], metadata: dict[str, str]) -> int:
    """Write a safetensors file, whole or not at all, and return its bytes.

    Raises:
      StageError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, temporary, metadata)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
            written = file.seek(0, os.SEEK_END)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise StageError(f"cannot write {path}: {error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return written
