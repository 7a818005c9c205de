"""Batches as a function of the step, what is padding, and the refusal to run out of data."""

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from massivetext.dataset import sha256_file, write_json
from massivetext.errors import ConfigError, InputError
from massivetext.shards import Shards
from massivetext.trainer.data import (
    batches,
    fingerprint,
    require_enough,
    require_same_build,
    to_batch,
)
from massivetext.trainer.loss import PADDING
from massivetext.trainer.sharding import RULES, for_axes, make_mesh
from massivetext.trainer.train import train

from . import tiny


def test_the_batch_of_a_step_is_its_records(tmp_path):
    shards = Shards.open(tiny.write_shards(tmp_path) / "shards")
    for step, batch in zip(range(3, 16), batches(shards, 4, 3, 16), strict=True):
        tokens = shards.read(4 * step, 4 * step + 4).tokens
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        assert np.array_equal(batch.inputs, tokens[:, :-1])
        assert np.array_equal(batch.targets, tokens[:, 1:])
    assert list(batches(shards, 4, 2, 2)) == []


def test_padding_is_by_count_and_not_by_token(tmp_path):
    """A tokenizer without padding pads with its end of text; a real one must stay a target."""
    held_out = Shards.open(tiny.write_shards(tmp_path) / "shards").heldout("books")
    records = held_out.read(3, 5)
    records.tokens[1, 7] = tiny.PAD
    targets = to_batch(records).targets
    assert np.all(targets[0] != PADDING)
    assert targets[1, 6] == tiny.PAD
    assert (targets[1] == PADDING).tolist() == [False] * 7 + [True] * 9


def test_more_steps_than_data(tmp_path):
    shards = Shards.open(tiny.write_shards(tmp_path) / "shards")
    require_enough(tiny.config(steps=16).train, shards)  # 64 records of 64
    with pytest.raises(ConfigError, match=r"68 sequences and the shards in .* hold 64: lower") as e:
        require_enough(tiny.config(steps=17).train, shards)
    assert "lower train.steps to at most 16" in str(e.value)
    assert "raise mixture.tokens to at least 1,088" in str(e.value)  # 17 · 4 · 16


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
        list(batches(shards, 4, 0, 16))


def test_logical_axes_map_to_the_mesh():
    mesh = make_mesh(8)
    assert 8 % mesh.size == 0
    assert for_axes(mesh, ("batch", "time")).spec == PartitionSpec("data", None)
    assert for_axes(mesh, ("layers", "embed", "mlp")).is_fully_replicated
    assert set(RULES.values()) <= set(mesh.axis_names)
