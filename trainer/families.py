"""What sets the published decoders apart: one record each, read by `parameters` and `model`.

All of them are GPT-2's stack of pre-norm blocks, with the embedding shared with the logits and no
dropout. Sizes are in `massivetext.presets.MODELS`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The architecture of one paper.

    Attributes:
      positions: how the model knows the order of its tokens, unless the config says otherwise.
      norm: `rms`, or `layer`, which subtracts the mean first.
      norm_bias: whether norms have a bias beside their scale.
      biases: whether the projections and the feed-forward layer have biases.
      gated: SwiGLU, Swish(x·gate) · (x·up), instead of GELU(x·up).
      parallel: x + FFW(norm(x)) + Attention(norm(x)), with one norm, instead of one after another.
      kv_heads: heads of keys and values that the query heads share; None gives each its own.
      fan_in: matrices start with variance 1/fan-in, and not with 1/(3·D) whatever their shape.
      residual_scaling: the two projections that write to the residual stream start scaled down by
        sqrt(2N), so that its variance does not grow with depth.
      unit_embedding: the embedding starts with variance 1, and the logits are scaled by 1/sqrt(D)
        for that; otherwise it starts as the matrix of the logits that it is at the other end.
    """

    positions: str
    norm: str
    norm_bias: bool
    biases: bool
    gated: bool
    parallel: bool
    kv_heads: int | None
    fan_in: bool
    residual_scaling: bool
    unit_embedding: bool


FAMILIES: dict[str, Family] = {
    # Gopher, section 2.1; Chinchilla, section 4.1. The initialisation is not published.
    "gopher": Family(
        positions="relative",
        norm="rms",
        norm_bias=False,
        biases=True,
        gated=False,
        parallel=False,
        kv_heads=None,
        fan_in=True,
        residual_scaling=True,
        unit_embedding=False,
    ),
    # PaLM, sections 2 and 5: no biases "in any of the dense kernels or layer norms".
    "palm": Family(
        positions="rotary",
        norm="layer",
        norm_bias=False,
        biases=False,
        gated=True,
        parallel=True,
        kv_heads=1,
        fan_in=True,
        residual_scaling=False,
        unit_embedding=True,
    ),
    # GPT-3, section 2.1 (GPT-2's model and initialisation), and MT-NLG. MT-NLG starts with
    # deviation sqrt(1/(3·D)), which at GPT-2's widths is the 0.02 of its code.
    "gpt3": Family(
        positions="learned",
        norm="layer",
        norm_bias=True,
        biases=True,
        gated=False,
        parallel=False,
        kv_heads=None,
        fan_in=False,
        residual_scaling=True,
        unit_embedding=False,
    ),
}
