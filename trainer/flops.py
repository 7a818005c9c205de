"""Floating-point operations of a decoder: the one place where they are counted.

A multiply-add counts as two. The count is Chinchilla's (Appendix F), carried over to the other
families: scores of all pairs of positions, the future's too; a backward pass of two forward ones,
and nothing for what rematerialisation computes again. The terms that relative, rotary and ALiBi
positions add to the scores are left out, W_R's projection with them: so does the paper, whose
models are Gopher's. The share of a peak is PaLM's (Appendix B), which counts in its own way.
"""

from .families import FAMILIES
from .parameters import Dimensions, parameter_count

# Dense bfloat16 FLOP/s, from the makers' data sheets, of one JAX device by its `device_kind`: of a
# chip, but of one of a chip's two cores for TPU v2 and v3. T4 and V100 have no bfloat16: float16.
PEAKS: dict[str, float] = {
    "NVIDIA B200": 2250e12,
    "NVIDIA GH200 480GB": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
    "NVIDIA A10G": 70e12,
    "NVIDIA GeForce RTX 4090": 165e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "Tesla T4": 65e12,
    "Tesla V100-SXM2-32GB": 125e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v4": 275e12,
    "TPU v3": 61.5e12,
    "TPU v2": 22.5e12,
}


def forward_parts(size: Dimensions, length: int) -> dict[str, int]:
    """Return the operations of one forward pass over one sequence of `length` tokens, by part.

    They are `embedding` and `logits` (2·S·V·D each), and of all layers the `projections` (queries,
    keys, values, output), the `scores` (query · key, softmax, sum of values) and the `feed_forward`
    layer, which has three matrices instead of two in PaLM.
    """
    s, d, k, n = length, size.d_model, size.kv_size, size.layers
    a = size.heads * k
    matrices = 3 if FAMILIES[size.family].gated else 2
    return {
        "embedding": 2 * s * size.vocab_size * d,
        "projections": n * (2 * s * d * (a + 2 * size.kv_heads * k) + 2 * s * a * d),
        "scores": n * (2 * s * s * a + 3 * size.heads * s * s + 2 * s * s * a),
        "feed_forward": n * 2 * s * matrices * d * size.ffw,
        "logits": 2 * s * size.vocab_size * d,
    }


def forward_flops(size: Dimensions, length: int, *, embedding: bool = True) -> int:
    """Return the operations of one forward pass over one sequence of `length` tokens.

    Args:
      embedding: count the embedding and the logits, as the paper's text says. Its Table A4 is
        reproduced only without them.
    """
    parts = forward_parts(size, length)
    outer = parts.pop("embedding") + parts.pop("logits")
    return sum(parts.values()) + (outer if embedding else 0)


def flops_per_token(size: Dimensions, length: int, *, embedding: bool = True) -> float:
    """Return the operations of training per token: a backward pass costs two forward ones."""
    return 3 * forward_flops(size, length, embedding=embedding) / length


def palm_flops_per_token(size: Dimensions, length: int) -> int:
    """Return 6·N + 12·L·H·Q·T: operations of training per token as MFU counts them (PaLM, App. B).

    N are all the parameters, embeddings included; Q is the size of a head.
    """
    scores = 12 * size.layers * size.heads * size.kv_size * length
    return 6 * parameter_count(size) + scores


def budget_flops(size: Dimensions, tokens: int) -> int:
    """Return 6·N·D as scaling laws count (Hoffmann et al. 2022, 3.3): N with the embedding once,
    which is also the matrix of the logits, and without norms; no scores of attention."""
    return 6 * parameter_count(size) * tokens


def mfu(
    tokens_per_second: float, size: Dimensions, length: int, devices: int, kind: str
) -> float | None:
    """Return PaLM's model FLOPs utilisation, 0 to 1, of devices of `device_kind` `kind`, or None
    when its peak is not in `PEAKS`."""
    if kind not in PEAKS:
        return None
    return tokens_per_second * palm_flops_per_token(size, length) / (devices * PEAKS[kind])
