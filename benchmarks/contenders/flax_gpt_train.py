"""A plain GPT in flax (linen), with optax; the whole step is compiled. Options: see `training`."""

from functools import partial
from typing import Any

import numpy as np
import training
from contender import Document, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    training.use_threads(options["threads"])
    # Only now: a library makes its threads when it is imported.
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    normal = nn.initializers.normal(0.02)
    dense = partial(nn.Dense, kernel_init=normal)

    class Block(nn.Module):
        heads: int

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            batch, length, width = x.shape
            split = (batch, length, self.heads, width // self.heads)
            query, key, value = jnp.split(dense(3 * width)(nn.LayerNorm()(x)), 3, axis=-1)
            attended = jax.nn.dot_product_attention(
                query.reshape(split), key.reshape(split), value.reshape(split), is_causal=True
            )
            x = x + dense(width)(attended.reshape(x.shape))
            return x + dense(width)(nn.gelu(dense(4 * width)(nn.LayerNorm()(x))))

    class Gpt(nn.Module):
        vocab: int
        context: int
        width: int
        layers: int
        heads: int

        @nn.compact
        def __call__(self, tokens: jax.Array) -> jax.Array:
            embedding = nn.Embed(self.vocab, self.width, embedding_init=normal)
            positions = nn.Embed(self.context, self.width, embedding_init=normal)
            x = embedding(tokens) + positions(jnp.arange(tokens.shape[1]))
            for _ in range(self.layers):
                x = Block(self.heads)(x)
            return embedding.attend(nn.LayerNorm()(x))

    sizes = ("vocab", "context", "width", "layers", "heads")
    model = Gpt(**{name: options[name] for name in sizes})
    shape = (options["batch"], options["context"])
    params = model.init(jax.random.key(1), jnp.zeros(shape, jnp.int32))
    optimiser = optax.chain(
        optax.clip_by_global_norm(training.CLIP_NORM),
        optax.adamw(
            training.LEARNING_RATE,
            training.BETA_1,
            training.BETA_2,
            training.EPSILON,
            weight_decay=training.WEIGHT_DECAY,
            mask=lambda tree: jax.tree.map(lambda p: p.ndim >= 2, tree),
        ),
    )

    def mean_loss(params: Any, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        logits = model.apply(params, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(
        params: Any, moments: Any, inputs: jax.Array, targets: jax.Array
    ) -> tuple[Any, Any, jax.Array]:
        loss, gradients = jax.value_and_grad(mean_loss)(params, inputs, targets)
        updates, moments = optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments, loss

    state = (params, optimiser.init(params))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))

    def step(inputs: np.ndarray, targets: np.ndarray) -> float:
        nonlocal state
        params, moments, loss = update(*state, inputs, targets)
        state = (params, moments)
        return float(loss)

    return training.timed(options, count, "flax linen, optax, one compiled step", step)


main(measure)
