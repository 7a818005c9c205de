"""massivetext's training step, as its loop runs it. Options: see `training`.

`remat` is the config's: the peers recompute nothing on the way back, so they meet `none`.
"""

from typing import Any

import numpy as np
import training
from contender import Document, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    training.use_threads(options["threads"])
    # Only now: a library makes its threads when it is imported.
    import jax

    from massivetext.allocator import keep_freed_memory
    from massivetext.config import Train
    from massivetext.config_train import Override
    from massivetext.trainer import optimiser, parameters, schedule, sharding, step

    assert (optimiser.BETA_1, optimiser.BETA_2, optimiser.EPSILON) == (
        training.BETA_1,
        training.BETA_2,
        training.EPSILON,
    )
    keep_freed_memory()  # as `trainer.train` does
    train = Train(
        model="gpt3-125m",
        override=Override(
            layers=options["layers"],
            heads=options["heads"],
            kv_size=options["width"] // options["heads"],
            d_model=options["width"],
        ),
        steps=options["warm_up"] + options["steps"],
        batch_size=options["batch"],
        learning_rate=training.LEARNING_RATE,
        warmup_steps=0,
        weight_decay=training.WEIGHT_DECAY,
        clip_norm=training.CLIP_NORM,
        remat=options["remat"],
    )
    size = parameters.dimensions(train, options["vocab"], options["context"])
    mesh = sharding.make_mesh(train.mesh, train.batch_size)
    state = step.initial_state(train, size, 1, mesh)
    run = step.make_step(train, size, mesh)
    split = sharding.batch_sharding(mesh)
    done = 0

    def one(inputs: np.ndarray, targets: np.ndarray) -> float:
        nonlocal state, done
        batch = jax.device_put((inputs[None], targets[None]), split)
        rate = np.float32(schedule.learning_rate(train, done))
        state, values = run(state, *batch, np.int32(1), rate)
        done += 1
        return float(values["loss"])

    count = parameters.parameter_count(size, norms=True)
    return training.timed(
        options, count, f"family gpt3, positions learned, remat {train.remat}", one
    )


main(measure)
