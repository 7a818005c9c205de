"""Rows of train.py, only when asked for: model FLOPs utilisation of a whole update on one GPU."""

import time

import numpy as np
from report import Bench, Row, median

from massivetext.config import Train
from massivetext.config_train import Override
from massivetext.errors import ConfigError

LENGTH, VOCAB = 2048, 32_000
BATCH = 16
STEPS, WARM_UP = 10, 2
TARGETS = {"relative": 38.0, "rotary": 45.0, "none": 45.0}


def mfu(bench: Bench) -> None:
    """The 1.4 B Gopher in bfloat16 with a float32 master, AdamW, sequences of 2,048 tokens.

    Raises:
      ConfigError: JAX sees no GPU.
    """
    # Only now: sections that need no JAX start without it.
    import jax

    if jax.default_backend() != "gpu":
        raise ConfigError(
            f"mfu needs a GPU that JAX can use, and there is only {jax.default_backend()}; "
            "on a machine with one: pip install 'jax[cuda12]' and "
            "python benchmarks/train.py --only mfu"
        )
    for positions, target in TARGETS.items():
        train = Train(
            model="gopher-1.4b",
            override=Override(positions=positions),
            steps=1000,
            batch_size=BATCH,
            precision="bfloat16",
        )
        runs = [steps_per_second(train, LENGTH, VOCAB, STEPS) for _ in range(bench.repetitions)]
        bench.report.add(_row(train, positions, target, median(runs)))


def _row(train: Train, positions: str, target: float, rate: float) -> Row:
    import jax

    from massivetext.trainer.flops import mfu as utilisation
    from massivetext.trainer.parameters import dimensions

    size = dimensions(train, VOCAB, LENGTH)
    tokens = rate * train.batch_size * LENGTH
    device = jax.devices()[0].device_kind
    share = utilisation(tokens, size, LENGTH, 1, device)
    detail = {"device": device, "tokens_per_second": tokens, "train": repr(train)}
    value = None if share is None else 100 * share
    note = f"no peak is known for {device}" if share is None else ""
    what = f"{train.model}, {positions}, bf16, {train.batch_size} x {LENGTH:,}"
    return Row("mfu", what, value, "%", at_least=target, note=note, detail=detail)


def steps_per_second(train: Train, length: int, vocab: int, steps: int) -> float:
    """Return the rate of updates on random tokens, one after another as the loop runs them."""
    import jax

    from massivetext.trainer import parameters, schedule, sharding, step

    size = parameters.dimensions(train, vocab, length)
    mesh = sharding.make_mesh(train.mesh, train.batch_size)
    run = step.make_step(train, size, mesh)
    state = step.initial_state(train, size, 1, mesh)
    tokens = np.random.default_rng(1).integers(0, vocab, (1, train.batch_size, length + 1))
    batch = jax.device_put(
        (tokens[..., :-1].astype(np.int32), tokens[..., 1:].astype(np.int32)),
        sharding.batch_sharding(mesh),
    )
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            jax.block_until_ready(state)
            begin = time.perf_counter()
        rate = np.float32(schedule.learning_rate(train, number))
        state, _ = run(state, *batch, np.int32(1), rate)
    jax.block_until_ready(state)
    return steps / (time.perf_counter() - begin)
