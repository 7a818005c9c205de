"""A run whose folder is on an object store is the run that it would be on a disk."""

from contextlib import ExitStack, contextmanager

import jax
import pytest

from massivetext import published
from massivetext.cli.train import result_table
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.evaluation.texts import evaluate
from massivetext.published import COMMITTED, Published
from massivetext.storage import location, sizes
from massivetext.trainer import train as train_module
from massivetext.trainer.checkpoint import Checkpoints
from massivetext.trainer.train import train

from .. import object_store
from . import tiny
from .test_checkpoint import IDENTITY, like, state, value
from .test_train import Killed, about, config, lines, losses


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    with object_store.server() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASSIVETEXT_SCRATCH", str(scratch))
        yield url
    assert not list(scratch.iterdir())


@pytest.fixture
def folder(request):
    return location(f"{object_store.ADDRESS}/{request.node.name.partition('[')[0]}")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    root = tiny.write_shards(tmp_path_factory.mktemp("local"))
    return root, train(root, config(), quiet=True)


@pytest.fixture(scope="module")
def remote(local, tmp_path_factory):
    root = tiny.write_shards(tmp_path_factory.mktemp("shards"))
    address = object_store.upload(root, "run")
    return address, train(address, config(), quiet=True)


def test_it_is_the_same_run(local, remote):
    assert lines(remote[0]) == lines(local[0])
    assert result_table(remote[1]) == result_table(local[1])
    assert remote[1].checkpoint == remote[0] / "checkpoints" / "12"
    assert about(remote[0]) == about(local[0])
    assert evaluate(remote[0], config()) == local[1].bpb_after


def test_what_it_leaves(local, remote):
    there = sizes(remote[0])
    here = {name for name in sizes(local[0]) if not name.endswith(".lock")}
    marks = {f"checkpoints/{step}/{COMMITTED}" for step in steps(remote[0])}
    assert {name for name in there if "ocdbt" not in name and "/d/" not in name} == {
        name for name in here if "ocdbt" not in name and "/d/" not in name
    } | marks
    assert (remote[0] / "train/loss.svg").read_bytes() == (local[0] / "train/loss.svg").read_bytes()


def steps(root):
    marks = [name.split("/") for name in sizes(root / "checkpoints")]
    return sorted(int(mark[0]) for mark in marks if mark[1:] == [COMMITTED])


def test_a_finished_run_is_not_trained_again(remote, monkeypatch):
    monkeypatch.setattr(train_module, "make_step", lambda *a: pytest.fail)
    assert train(remote[0], config(), quiet=True) == remote[1]


@contextmanager
def gone(monkeypatch):
    """Nothing reaches the store any more."""

    @contextmanager
    def reaching(self, how):
        raise StageError("the store is gone")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Published, "_reaching", reaching)
        yield


def test_killed_and_resumed_is_the_same_to_the_bit(local, folder, tmp_path, monkeypatch):
    root = object_store.upload(tiny.write_shards(tmp_path), folder.name)
    original = train_module.learning_rate

    def kill(plan, step):
        if step == 8:
            after.enter_context(gone(monkeypatch))
            raise Killed
        return original(plan, step)

    with ExitStack() as after:
        monkeypatch.setattr(train_module, "learning_rate", kill)
        with pytest.raises(Killed):
            train(root, config(), quiet=True)
    monkeypatch.setattr(train_module, "learning_rate", original)
    assert max((r["step"] for r in lines(root)), default=0) in (0, 5)
    train(root, config(), quiet=True)
    assert lines(root) == lines(local[0])
    assert about(root) == about(local[0])


def test_what_a_failed_run_said_is_there(folder, tmp_path, monkeypatch):
    root = object_store.upload(tiny.write_shards(tmp_path), folder.name)
    original = train_module.learning_rate

    def fail(plan, step):
        if step == 3:
            raise StageError("it diverged")
        return original(plan, step)

    monkeypatch.setattr(train_module, "learning_rate", fail)
    with pytest.raises(StageError, match="it diverged"):
        train(root, config(), quiet=True)
    assert len(losses(root)) == 2  # the third update was on its way


def test_checkpoints_are_kept_and_removed_as_on_a_disk(folder):
    with Checkpoints(folder, IDENTITY, lambda steps: {n for n in steps if n % 2}) as checkpoints:
        for step, bits in ((1, 3.0), (2, 2.0), (3, None), (4, None), (6, None)):
            checkpoints.save(step, state(float(step)), {}, bits)
        assert checkpoints.steps == [1, 2, 3, 6]
        assert value(checkpoints, 3) == 3.0
    assert steps(folder) == [1, 2, 3, 6]
    with Checkpoints(folder, IDENTITY, set) as checkpoints:
        assert value(checkpoints, 2) == 2.0
        checkpoints.remove_after(2)
        assert steps(folder) == [1, 2]
        checkpoints.save(3, state(33.0), {}, None)
    with Checkpoints(folder, IDENTITY, read_only=True) as checkpoints:
        assert checkpoints.steps == steps(folder) == [1, 2, 3]
        assert value(checkpoints, 3) == 33.0


def test_only_what_is_read_is_copied(folder):
    with Checkpoints(folder, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    with Checkpoints(folder, IDENTITY, read_only=True) as checkpoints:
        checkpoints.about(1)
        assert not (checkpoints.folder / "1/params").exists()
        checkpoints.restore(1, {"params": like()["params"]})
        assert (checkpoints.folder / "1/params").exists()
        assert not (checkpoints.folder / "1/optimiser").exists()


def test_half_a_checkpoint_does_not_count_and_is_removed(folder):
    with Checkpoints(folder, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
    for name in [name for name in sizes(folder / "checkpoints") if not name.endswith(COMMITTED)]:
        half = folder / "checkpoints" / name.replace("1/", "9/", 1)
        half.write_bytes((folder / "checkpoints" / name).read_bytes())
    with Checkpoints(folder, IDENTITY, read_only=True) as checkpoints:
        assert checkpoints.steps == [1]
    assert any(name.startswith("9/") for name in sizes(folder / "checkpoints"))
    with Checkpoints(folder, IDENTITY) as checkpoints:
        assert checkpoints.steps == [1]
    assert not any(name.startswith("9/") for name in sizes(folder / "checkpoints"))


def test_an_upload_that_fails_leaves_the_one_before(folder, monkeypatch):
    with Checkpoints(folder, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1.0), {}, None)
        checkpoints.wait()
        original = published.write_bytes

        def refuse(path, data):
            raise PermissionError(13, "these credentials may not do this here", str(path))

        monkeypatch.setattr(published, "write_bytes", refuse)
        checkpoints.save(2, state(2.0), {}, None)
        with pytest.raises(
            StageError, match=r"step 2 could not be written to s3://.*; step 1 is ke"
        ):
            checkpoints.wait()
        monkeypatch.setattr(published, "write_bytes", original)
    assert steps(folder) == [1]
    with Checkpoints(folder, IDENTITY) as checkpoints:
        assert value(checkpoints, 1) == 1.0
        checkpoints.save(2, state(2.0), {}, None)
    assert steps(folder) == [2]


def test_several_processes_are_refused(folder, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match="cannot take several processes' checkpoints: train into"):
        Checkpoints(folder, IDENTITY)


def test_a_missing_bucket_is_named():
    with pytest.raises(InputError, match="s3://no-such-bucket/out/shards"):
        train(location("s3://no-such-bucket/out"), config(), quiet=True)


def test_a_trace_is_uploaded(folder, tmp_path):
    root = object_store.upload(tiny.write_shards(tmp_path), folder.name)
    train(root, config(steps=2), quiet=True, profile=(1, 2))
    assert any(name.endswith(".xplane.pb") for name in sizes(root / "train" / "profile"))
