"""Rows of train.py: temporary memory of the loss and its gradients, beside the plain formula."""

from report import Bench, Row

BATCH, LENGTH, VOCAB = 8, 512, 32_000
WIDTHS = (512, 2048)


def memory(bench: Bench) -> None:
    """What XLA sets aside for `value_and_grad` of the loss: compiled, not run."""
    # Only now: sections that need no JAX start without it.
    import jax
    import jax.numpy as jnp

    from massivetext.trainer.loss import cross_entropy

    def ours(hidden: jax.Array, embedding: jax.Array, targets: jax.Array) -> jax.Array:
        return cross_entropy(hidden, embedding, targets)[0]

    def plain(hidden: jax.Array, embedding: jax.Array, targets: jax.Array) -> jax.Array:
        scores = jax.nn.log_softmax(jnp.einsum("btd,vd->btv", hidden, embedding))
        return -jnp.take_along_axis(scores, targets[..., None], axis=-1).sum()

    targets = jax.ShapeDtypeStruct((BATCH, LENGTH), jnp.int32)
    for width in WIDTHS:
        hidden = jax.ShapeDtypeStruct((BATCH, LENGTH, width), jnp.float32)
        embedding = jax.ShapeDtypeStruct((VOCAB, width), jnp.float32)
        for name, loss in (("massivetext", ours), ("all logits at once", plain)):
            gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
            compiled = gradients.lower(hidden, embedding, targets).compile()
            size = compiled.memory_analysis().temp_size_in_bytes
            what = f"{name}, {BATCH * LENGTH:,} tokens x {VOCAB:,}, {width} wide"
            most = 200 if loss is ours and width == WIDTHS[0] else None
            bench.report.add(Row("loss", what, size / 1e6, "MB", at_most=most))
