"""Floating-point operations of training (Chinchilla, Appendix F); a multiply-add counts as two."""

from .parameters import Dimensions


def forward_flops(size: Dimensions, length: int, *, embedding: bool = True) -> int:
    """Return the operations of one forward pass over one sequence of `length` tokens.

    Args:
      embedding: count the embedding and the logits, as the paper's text says. Its Table A4 is
        reproduced only without them.
    """
    s, d, a = length, size.d_model, size.heads * size.kv_size
    attention = 2 * 3 * s * d * a + 2 * s * s * a + 3 * size.heads * s * s
    attention += 2 * s * s * a + 2 * s * a * d
    dense = 2 * s * (2 * d * size.ffw)
    vocabulary = 2 * (2 * s * size.vocab_size * d) if embedding else 0
    return size.layers * (attention + dense) + vocabulary


def flops_per_token(size: Dimensions, length: int, *, embedding: bool = True) -> float:
    """Return the operations of training per token: a backward pass costs two forward ones."""
    return 3 * forward_flops(size, length, embedding=embedding) / length
