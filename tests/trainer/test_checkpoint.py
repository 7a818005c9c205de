"""What is kept, what is refused, and what a full disk or a kill leaves."""

import os
import resource
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from massivetext.errors import ConfigError, InputError, StageError
from massivetext.trainer.checkpoint import REMOVED, Checkpoints, load_params
from massivetext.trainer.parameters import dimensions, initialise

from . import tiny

IDENTITY = {"model": {"layers": 2, "heads": 4}, "shards": "abc"}


def state(value, length=1000):
    return {
        "params": {"w": jnp.full(length, value), "b": jnp.full(3, value, jnp.bfloat16)},
        "optimiser": {"skipped": jnp.int32(value)},
    }


def like(length=1000):
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), state(0.0, length)
    )


def value(checkpoints, step):
    (found,) = set(np.asarray(checkpoints.restore(step, like())["params"]["w"]).tolist())
    return found


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
        assert checkpoints.about(4)["seconds"] == 9
        restored = checkpoints.restore(4, like())
        assert np.all(np.asarray(restored["params"]["w"]) == 4.0)
        assert restored["params"]["b"].dtype == jnp.bfloat16
        assert restored["optimiser"]["skipped"] == 4


def test_what_is_chosen_is_kept_besides(tmp_path):
    with Checkpoints(tmp_path, IDENTITY, lambda steps: {n for n in steps if n % 2}) as checkpoints:
        for step in (1, 2, 3, 4, 6):
            checkpoints.save(step, state(float(step)), {}, None)
        assert checkpoints.steps == [1, 3, 6]
        assert value(checkpoints, 3) == 3.0


def test_a_state_that_is_donated_at_once_is_saved_as_it_was(tmp_path):
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 5, s), donate_argnums=0)
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        for step in (1, 2, 3):
            big = state(float(step), 300_000)
            checkpoints.save(step, big, {}, None)
            jax.block_until_ready(overwrite(big))
            saved = checkpoints.restore(step, like(300_000))["params"]
            assert np.all(np.asarray(saved["w"]) == step)


def test_what_a_run_says_of_itself_is_saved_as_it_was(tmp_path, monkeypatch):
    """However late it is written: a run goes on meanwhile."""
    written, changed = ocp.JsonCheckpointHandler._save_fn, threading.Event()

    async def late(handler, about, folder):
        assert changed.wait(60)
        await written(handler, about, folder)

    monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", late)
    about = {"points": [{"step": 1}]}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), about, None)
        about["points"][0]["step"] = 2
        about["points"].append({"step": 3})
        changed.set()
        assert checkpoints.about(1)["points"] == [{"step": 1}]


def test_going_back_removes_what_came_after(tmp_path):
    with Checkpoints(tmp_path, IDENTITY, set) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state(float(step)), {}, None)
        checkpoints.remove_after(1)
        assert checkpoints.steps == [1]
        assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["1"]
        checkpoints.save(2, state(22.0), {}, None)
        assert checkpoints.steps == [1, 2]
        assert value(checkpoints, 2) == 22.0


def test_what_was_half_removed_is_gone_and_half_written_never_there(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    folder = tmp_path / "checkpoints"
    (folder / REMOVED / "7" / "params").mkdir(parents=True)
    (folder / "9.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    with Checkpoints(tmp_path, IDENTITY, read_only=True) as checkpoints:
        assert checkpoints.steps == [1]
        assert value(checkpoints, 1) == 1.0
    assert (folder / REMOVED).exists()  # a reader leaves a writer's files alone
    assert (folder / "9.orbax-checkpoint-tmp").exists()
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.steps == [1]
    assert sorted(path.name for path in folder.iterdir()) == ["1"]


def test_another_model_or_other_shards_are_refused(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    other = {**IDENTITY, "model": {"layers": 3, "heads": 4}}
    with (
        Checkpoints(tmp_path, other) as checkpoints,
        pytest.raises(ConfigError, match="made with model layers 2, not 3"),
    ):
        checkpoints.about(1)
    with (
        Checkpoints(tmp_path, {**IDENTITY, "shards": "xyz"}) as checkpoints,
        pytest.raises(ConfigError, match="made with shards 'abc', not 'xyz'"),
    ):
        checkpoints.about(1)


@pytest.fixture
def full_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("finish", ["wait", "save", "steps"])
def test_a_full_disk_leaves_the_one_before(tmp_path, full_disk, finish):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
        checkpoints.wait()
        full_disk()
        with pytest.raises(StageError, match=r"step 2 could not be written .* step 1 is kept"):
            # Nothing says that it is saved before it is.
            checkpoints.save(2, state(2.0), {}, None)
            if finish == "save":
                checkpoints.save(3, state(3.0), {}, None)
            elif finish == "wait":
                checkpoints.wait()
            else:
                assert checkpoints.steps
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert checkpoints.steps == [1]
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.last_step == 1
        assert value(checkpoints, 1) == 1.0
        checkpoints.save(2, state(2.0), {}, None)
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.steps == [2]


def test_a_save_that_fails_at_the_end_is_not_silent(tmp_path, full_disk):
    with (
        pytest.raises(StageError, match=r"step 1 could not be written .* nothing was saved before"),
        Checkpoints(tmp_path, IDENTITY) as checkpoints,
    ):
        full_disk()
        checkpoints.save(1, state(1.0), {}, None)


def test_no_checkpoint_and_a_broken_one(tmp_path):
    size = dimensions(tiny.TRAIN, tiny.VOCAB, tiny.LENGTH)
    with pytest.raises(InputError, match="run massivetext train first"):
        load_params(tmp_path, size, "abc")
    with Checkpoints(tmp_path, {"model": size.to_json(), "shards": "abc"}) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    for file in (tmp_path / "checkpoints" / "1" / "params").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError, match=r"cannot be read .* delete it to continue"):
        load_params(tmp_path, size, "abc")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_parameters_come_alone_and_as_they_were_saved(tmp_path, dtype):
    size = dimensions(tiny.TRAIN, tiny.VOCAB, tiny.LENGTH)
    params = {name: array.astype(dtype) for name, array in initialise(size, 1).items()}
    saved = {"params": params, "optimiser": {"anything": jnp.zeros(3)}}
    with Checkpoints(tmp_path, {"model": size.to_json(), "shards": "abc"}) as checkpoints:
        checkpoints.save(1, saved, {}, None)
    loaded = load_params(tmp_path, size, "abc")
    assert loaded.keys() == params.keys()
    for name, array in loaded.items():
        assert array.dtype == dtype
        assert np.array_equal(array, params[name]), name


def test_killed_while_saving_leaves_a_whole_one(tmp_path):
    """Saves as fast as it can until it is killed; whatever is left is whole."""
    code = """
import sys
from pathlib import Path
import jax.numpy as jnp
from massivetext.trainer.checkpoint import Checkpoints
with Checkpoints(Path(sys.argv[1]), {"model": 1}, lambda steps: set(steps[-3:])) as checkpoints:
    for step in range((checkpoints.last_step or 0) + 1, 10**6):
        whole = {"w": jnp.full(200_000, float(step))}
        checkpoints.save(step, {"params": whole, "optimiser": whole}, {"step": step}, None)
        print(step, flush=True)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    shapes = {
        "w": jax.ShapeDtypeStruct((200_000,), jnp.float32, sharding=like()["params"]["w"].sharding)
    }
    last = 0
    for lines in (4, 9):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(lines):
                said = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
        with Checkpoints(tmp_path, {"model": 1}, read_only=True) as checkpoints:
            assert checkpoints.last_step >= max(said - 1, last + 1)
            last = checkpoints.last_step
            for step in checkpoints.steps:
                assert checkpoints.about(step)["step"] == step
                restored = checkpoints.restore(step, {"params": shapes, "optimiser": shapes})
                for item in restored.values():
                    assert np.all(np.asarray(item["w"]) == step)


def test_a_damaged_checkpoint_is_named(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    arrays = [file for file in (tmp_path / "checkpoints/1/params").rglob("d/*") if file.is_file()]
    assert arrays
    for file in arrays:
        os.truncate(file, 10)
    with (
        Checkpoints(tmp_path, IDENTITY) as checkpoints,
        pytest.raises(InputError, match=r"checkpoints/1 cannot be read .*; delete it") as found,
    ):
        checkpoints.restore(1, like())
    assert len(str(found.value)) < 700


def test_a_file_where_the_folder_belongs_is_refused_at_once(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(ConfigError, match="checkpoints is a file"):
        Checkpoints(tmp_path, IDENTITY)
