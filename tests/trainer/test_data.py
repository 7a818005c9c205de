"""Batches from a position on, what is padding, and the refusal to run out of data."""

from dataclasses import replace

import numpy as np
import pytest

from massivetext.config_train import BatchRamp, RampPoint, Spikes
from massivetext.dataset import sha256_file, write_json
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.shards import Shards
from massivetext.trainer.data import (
    Position,
    batches,
    fingerprint,
    require_enough,
    require_left,
    require_same_build,
    text_bytes_per_target,
    to_batch,
)
from massivetext.trainer.loss import PADDING
from massivetext.trainer.train import train

from . import tiny


@pytest.fixture
def shards(tmp_path):
    return Shards.open(tiny.write_shards(tmp_path) / "shards")


def test_the_batch_of_a_position_is_its_records(shards):
    plan = replace(tiny.TRAIN, steps=16, micro_batch_size=2)
    start = Position(3, 12, 12)
    for step, feed in zip(range(3, 16), batches(shards, plan, start), strict=True):
        tokens = shards.read(4 * step, 4 * step + 4).tokens.reshape(2, 2, -1)
        assert feed.inputs.dtype == feed.targets.dtype == np.int32
        assert np.array_equal(feed.inputs, tokens[:, :, :-1])
        assert np.array_equal(feed.targets, tokens[:, :, 1:])
        assert feed.micro_batches == 2
        assert feed.position == Position(step + 1, 4 * step + 4, 4 * step + 4)
    assert list(batches(shards, plan, feed.position)) == []


def test_a_growing_batch_has_one_shape(shards):
    ramp = BatchRamp((RampPoint(0, 2), RampPoint(4, 6)))
    plan = replace(tiny.TRAIN, steps=4, batch_size=6, micro_batch_size=2, batch_ramp=ramp)
    feeds = list(batches(shards, plan, Position()))
    assert [feed.micro_batches for feed in feeds] == [1, 1, 3, 3]
    assert [feed.position.cursor for feed in feeds] == [2, 4, 10, 16]
    for feed, start in zip(feeds, (0, 2, 4, 10), strict=True):
        assert feed.inputs.shape == feed.targets.shape == (3, 2, tiny.LENGTH)
        tokens = shards.read(start, feed.position.cursor).tokens
        assert np.array_equal(feed.inputs[: feed.micro_batches].reshape(-1, 16), tokens[:, :-1])
        assert np.all(feed.targets[feed.micro_batches :] == PADDING)


def test_records_that_were_skipped_are_not_read(shards):
    position = Position().after(4).after(4).skip_to(20)
    assert position == Position(2, 8, 20, ((8, 20),))
    assert Position.from_json(position.to_json()) == position
    feed = next(iter(batches(shards, tiny.TRAIN, position)))
    assert np.array_equal(feed.inputs[0], shards.read(20, 24).tokens[:, :-1])
    assert feed.position == Position(3, 12, 24, ((8, 20),))


def test_what_is_read_is_placed_by_the_reader(shards):
    import threading

    threads = []

    def place(array):
        threads.append(threading.current_thread())
        return array.shape

    (feed,) = batches(shards, replace(tiny.TRAIN, steps=1), Position(), place)
    assert feed.inputs == feed.targets == (1, 4, 16)
    assert threading.main_thread() not in threads


def test_padding_is_by_count_and_not_by_token(shards):
    """A tokenizer without padding pads with its end of text; a real one must stay a target."""
    records = shards.heldout("books").read(3, 5)
    records.tokens[1, 7] = tiny.PAD
    targets = to_batch(records).targets
    assert np.all(targets[0] != PADDING)
    assert targets[1, 6] == tiny.PAD
    assert (targets[1] == PADDING).tolist() == [False] * 7 + [True] * 9


def test_more_steps_than_data(shards):
    require_enough(tiny.config(steps=16).train, shards)  # 64 records of 64
    with pytest.raises(ConfigError, match=r"68 sequences and the shards in .* hold 64: lower") as e:
        require_enough(tiny.config(steps=17).train, shards)
    assert "lower train.steps to at most 16" in str(e.value)
    assert "raise mixture.tokens to at least 1,088" in str(e.value)  # 17 · 4 · 16


def test_more_steps_of_a_ramp_than_data(shards):
    ramp = BatchRamp((RampPoint(0, 2), RampPoint(10, 6)))
    changes = {"batch_size": 6, "micro_batch_size": 2, "batch_ramp": ramp}
    require_enough(tiny.config(steps=14, **changes).train, shards)  # 5 · 2 + 9 · 6 = 64
    with pytest.raises(ConfigError, match=r"train.batch_size 2 to 6 need 70 .* to at most 14"):
        require_enough(tiny.config(steps=15, **changes).train, shards)


def test_too_little_data_after_a_spike(shards):
    plan = replace(tiny.TRAIN, steps=10, spikes=Spikes(skip=5))
    after = Position(2, 8, 8)
    require_left(plan, shards, after.skip_to(32), 3)  # 32 + 8 · 4 = 64
    with pytest.raises(
        StageError, match=r"spiked at step 3; .* are 1 sequences too short"
    ) as error:
        require_left(plan, shards, after.skip_to(33), 3)
    assert "lower train.spikes.skip to at most 4" in str(error.value)
    assert "raise mixture.tokens to at least 1,040" in str(error.value)  # 65 · 16
    with pytest.raises(StageError, match=r"rest of the run: remove train\.spikes"):
        require_left(replace(plan, spikes=Spikes(skip=0)), shards, after.skip_to(33), 3)


def test_bytes_per_target_are_those_of_the_mixture():
    def manifest(tokens, *named):
        entry = {"a": {"targets": 100, "text_bytes": 400}, "b": {"targets": 50, "text_bytes": 100}}
        return {
            "subsets": [{"name": n, "tokens": t} for n, t in tokens.items()],
            "heldout": {name: entry[name] for name in named},
        }

    assert text_bytes_per_target(manifest({"a": 3000, "b": 1000}, "a", "b")) == 3.5
    assert text_bytes_per_target(manifest({"a": 7, "b": 0}, "a")) == 4.0
    assert text_bytes_per_target(manifest({"a": 3000, "b": 1000}, "a")) is None
    assert text_bytes_per_target({"subsets": [{"name": "a"}], "heldout": {}}) is None


def test_fingerprint_tells_shards_apart(tmp_path):
    prints = [
        fingerprint(Shards.open(tiny.write_shards(tmp_path / name, seed=seed) / "shards"))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_training_does_not_start_on_shards_of_another_build(tmp_path):
    root = tiny.write_shards(tmp_path)
    manifest = root / "shards" / "manifest.json"
    shards = Shards.open(manifest)
    require_same_build(root, shards)  # shards alone, copied from where they were built
    (root / "tokenizer").mkdir()
    model = root / "tokenizer" / "tokenizer.model"
    model.write_bytes(b"tokenizer")
    entry = {"path": "shards/manifest.json", "sha256": sha256_file(manifest)}
    write_json(root / "manifests" / "shards.json", {"files": [entry]})
    require_same_build(root, shards)
    model.write_bytes(b"another")
    with pytest.raises(InputError, match=r"made with another tokenizer than .*tokenizer.model"):
        train(root, tiny.config(), quiet=True)
    model.write_bytes(b"tokenizer")
    manifest.write_text(manifest.read_text().replace('"text_bytes": 300', '"text_bytes": 301'))
    with pytest.raises(InputError, match=r"manifest.json is not the manifest that the build wrote"):
        train(root, tiny.config(), quiet=True)
    assert not (root / "checkpoints").exists()


def test_a_damaged_record_reaches_the_caller(tmp_path):
    root = tiny.write_shards(tmp_path)
    path = root / "shards" / "train.tfrecord"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    shards = Shards.open(root / "shards")
    with pytest.raises(InputError, match="record 63 at byte"):
        list(batches(shards, replace(tiny.TRAIN, steps=16), Position()))
