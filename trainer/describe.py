"""What a model is and costs, before anything is trained: `massivetext model`."""

import math
from collections.abc import Mapping
from typing import Any

from massivetext.card import align
from massivetext.config_train import Train
from massivetext.progress import human_bytes

from .flops import forward_parts, palm_flops_per_token
from .memory import per_device_bytes
from .parameters import dimensions, parameter_count, table
from .ramp import micro_batch_size

EXACT = ("parameters", "optimiser")  # of the memory; the rest is estimated


def describe(
    train: Train, vocab_size: int, length: int, mesh_shape: Mapping[str, int]
) -> dict[str, Any]:
    """Return dimensions, parameters, FLOPs per token and bytes per device, as plain JSON values.

    Args:
      length: tokens of a sequence.
      mesh_shape: devices along `data`, `fsdp` and `tensor`.

    Raises:
      ConfigError: the dimensions do not go together, or not with the mesh.
    """
    size = dimensions(train, vocab_size, length)
    counted = parameter_count(size)
    embeddings = sum(
        math.prod(row.shape) for row in table(size).values() if row.axes[0] in ("vocab", "context")
    )
    return {
        "model": train.model,
        "dimensions": size.to_json(),
        "parameters": {
            "as the papers count (no norms)": counted,
            "without embeddings": counted - embeddings,
            "all": parameter_count(size, norms=True),
        },
        "sequence_length": length,
        "flops_per_token": {
            **_chinchilla(forward_parts(size, length), length),
            "6 N": _passes(2 * counted),
            "6 N + 12 L H Q T (PaLM, MFU)": _passes(palm_flops_per_token(size, length) / 3),
        },
        "mesh": dict(mesh_shape),
        "precision": train.precision,
        "optimizer": train.optimizer,
        "remat": train.remat,
        "micro_batch_size": micro_batch_size(train),
        "bytes_per_device": per_device_bytes(size, train, mesh_shape, length),
    }


def _chinchilla(parts: dict[str, int], length: int) -> dict[str, dict[str, float]]:
    """Return the FLOPs of a token, with and without what grows with length or vocabulary."""
    every = sum(parts.values())
    outer = parts["embedding"] + parts["logits"]
    forward = {
        "all (Chinchilla, Appendix F)": every,
        "without attention scores": every - parts["scores"],
        "without embedding and logits": every - outer,
        "without any of them": every - outer - parts["scores"],
    }
    return {name: _passes(operations / length) for name, operations in forward.items()}


def _passes(forward: float) -> dict[str, float]:
    """Return the operations of each pass: going back costs twice as much as going forward."""
    return {"forward": forward, "backward": 2 * forward, "training": 3 * forward}


def text(description: dict[str, Any]) -> str:
    """Return what `describe` found as tables for a terminal."""
    sizes = [["dimension", ""]]
    sizes += [[name, _value(value)] for name, value in description["dimensions"].items()]
    counts = [["parameters", "", "millions"]]
    counts += [
        [name, f"{count:,}", f"{count / 1e6:,.1f}"]
        for name, count in description["parameters"].items()
    ]
    flops = [["GFLOP per token", "forward", "backward", "training"]]
    flops += [
        [name, *(f"{value / 1e9:,.3f}" for value in passes.values())]
        for name, passes in description["flops_per_token"].items()
    ]
    memory = [["memory per device", "", ""]]
    memory += [
        [name, human_bytes(count), "exact" if name in EXACT else "estimate"]
        for name, count in description["bytes_per_device"].items()
    ]
    mesh = " x ".join(f"{axis} {count}" for axis, count in description["mesh"].items())
    setting = (
        f"{math.prod(description['mesh'].values())} device(s): {mesh}; "
        f"{description['precision']}, {description['optimizer']}, remat "
        f"{description['remat']}, {description['micro_batch_size']} sequences of "
        f"{description['sequence_length']:,} tokens at a time"
    )
    tables = [align(sizes), align(counts), align(flops), f"{setting}\n{align(memory)}"]
    return "\n\n".join([description["model"], *tables])


def _value(value: int | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value
