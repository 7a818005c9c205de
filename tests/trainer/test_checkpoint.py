"""What is kept, what is refused, and what a full disk leaves."""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.errors import ConfigError, InputError, StageError
from massivetext.trainer.checkpoint import Checkpoints, load_params

from . import tiny

IDENTITY = {"model": {"layers": 2, "heads": 4}, "shards": "abc"}
LIKE = {
    "params": {"w": jax.ShapeDtypeStruct((1000,), jnp.float32)},
    "optimiser": {"skipped": jax.ShapeDtypeStruct((), jnp.int32)},
}


def state(value):
    return {"params": {"w": jnp.full(1000, value)}, "optimiser": {"skipped": jnp.int32(value)}}


def like():
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), LIKE)


def test_the_last_and_the_best_are_kept_across_restarts(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.last_step is None
        checkpoints.save(1, state(1.0), {}, 3.0)
        checkpoints.save(2, state(2.0), {"seconds": 5}, 2.0)
        checkpoints.save(3, state(3.0), {}, None)
        assert checkpoints.steps == [2, 3]
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(4, state(4.0), {"seconds": 9}, 2.5)
        assert checkpoints.steps == [2, 4]
        assert checkpoints.about()["seconds"] == 9
        restored = checkpoints.restore(like())
        assert np.all(np.asarray(restored["params"]["w"]) == 4.0)
        assert restored["optimiser"]["skipped"] == 4


def test_another_model_or_other_shards_are_refused(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    other = {**IDENTITY, "model": {"layers": 3, "heads": 4}}
    with (
        Checkpoints(tmp_path, other) as checkpoints,
        pytest.raises(ConfigError, match="made with model layers 2, not 3"),
    ):
        checkpoints.about()
    with (
        Checkpoints(tmp_path, {**IDENTITY, "shards": "xyz"}) as checkpoints,
        pytest.raises(ConfigError, match="made with shards 'abc', not 'xyz'"),
    ):
        checkpoints.about()


def test_a_full_disk_leaves_the_one_before(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
        try:
            with pytest.raises(StageError, match=r"step 2 could not be written .* step 1 is kept"):
                checkpoints.save(2, state(2.0), {}, None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.last_step == 1
        assert np.all(np.asarray(checkpoints.restore(like())["params"]["w"]) == 1.0)


def test_no_checkpoint_and_a_broken_one(tmp_path):
    from massivetext.trainer.parameters import dimensions

    size = dimensions(tiny.TRAIN, tiny.VOCAB)
    with pytest.raises(InputError, match="run massivetext train first"):
        load_params(tmp_path, size, "abc")
    with Checkpoints(tmp_path, {"model": size.to_json(), "shards": "abc"}) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    for file in (tmp_path / "checkpoints" / "1" / "params").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError, match=r"cannot be read .* delete it to continue"):
        load_params(tmp_path, size, "abc")
