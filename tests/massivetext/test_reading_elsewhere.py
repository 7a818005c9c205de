"""The format as others read it: every block of docs/shards.md is run here, as it stands there.

Where TensorFlow or PyTorch is not installed its blocks are skipped; the same bytes are always read
by a parser of this file, by protobuf (test_tfrecord.py), by grain and by the page's own reader.
"""

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from massivetext import shards
from massivetext.errors import InputError, MassivetextError
from massivetext.tf_dataset import as_tf_dataset
from massivetext.tfrecord import layout

PAGE = (Path(__file__).parents[2] / "docs" / "shards.md").read_text(encoding="utf-8")
LENGTH, PAD, BATCH = 6, 1, 8
FILES = (23, 1, 40)
RECORDS = sum(FILES)
STEPS = RECORDS // BATCH
AVAILABLE = (20 * LENGTH - 2, 45 * LENGTH)  # the last sequence of `books` has two padded targets


def blocks():
    """Python blocks of the page by the title of their section."""
    found = {}
    for section in re.split(r"^###? ", PAGE, flags=re.M)[1:]:
        title, _, text = section.partition("\n")
        code = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        if code:
            found[title] = code
    return found


BLOCKS = blocks()


def run(section, number=0):
    """Run one block in a module of its own; return its names."""
    names = {"__name__": "a_block_of_the_docs"}
    exec(compile(BLOCKS[section][number], "docs/shards.md", "exec"), names)
    return names


def needs(package, install):
    return pytest.importorskip(package, reason=f"{package} is not there: pip install {install}")


def write(folder):
    """Write out/shards in `folder`: three shards of two subsets, and a held-out set."""
    random = np.random.default_rng(4)
    out = folder / "out" / "shards"
    (out / "heldout").mkdir(parents=True)
    record = layout(LENGTH + 1, "uint16")
    subset = (np.arange(RECORDS) % 3 > 0).astype(np.int64)
    use = np.where(subset == 0, np.cumsum(subset == 0), np.cumsum(subset == 1)) - 1
    each = np.array([20, 45])[subset]
    columns = (subset, use % each, use // each)
    tokens = random.integers(2, 60_000, (RECORDS, LENGTH + 1)).astype(np.uint16)
    tokens[(subset == 0) & (columns[1] == 19), -2:] = PAD
    files = []
    for number, (start, count) in enumerate(zip(np.cumsum((0, *FILES)), FILES, strict=False)):
        rows = slice(start, start + count)
        data = record.encode(tokens[rows], *(column[rows] for column in columns)).tobytes()
        path = out / f"train-{number:05d}-of-00003.tfrecord"
        path.write_bytes(data)
        files.append({"path": path.name, "records": count, "bytes": len(data), "sha256": ""})
    held = np.arange(3)
    data = record.encode(tokens[:3], 0 * held, held, 0 * held).tobytes()
    (out / "heldout" / "books.tfrecord").write_bytes(data)
    manifest = {
        "format": "massivetext-shards", "version": 1, "sequence_length": LENGTH,
        "record_bytes": record.record_bytes, "dtype": "uint16", "vocab_size": 60_000, "eos_id": 0,
        "pad_id": PAD, "tokenizer_sha256": "", "seed": 5, "sequences": RECORDS,
        "subsets": [
            {"index": index, "name": name, "available_tokens": AVAILABLE[index]}
            for index, name in enumerate(("books", "web"))
        ],
        "files": files,
        "heldout": {
            "books": {
                "path": "heldout/books.tfrecord", "sequences": 3, "targets": 17, "text_bytes": 9,
                "documents": 1, "bytes": len(data), "sha256": "",
            }
        },
    }  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest))
    return tokens, columns


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    return folder, *write(folder)


@pytest.fixture
def there(made, monkeypatch):
    """The working folder that the page's blocks take for granted; returns what was written."""
    folder, tokens, columns = made
    monkeypatch.chdir(folder)
    return tokens, columns


def targets(columns):
    subset, sequence, _ = columns
    return np.minimum(np.array(AVAILABLE)[subset] - sequence * LENGTH, LENGTH)


def test_every_block_has_a_test():
    assert {title: len(code) for title, code in BLOCKS.items()} == {
        "massivetext": 1, "tf.data": 2, "PyTorch": 1, "grain": 1, "NumPy alone": 1,
    }  # fmt: skip


def parse_by_hand(data):
    """Records of a TFRecord file of `tf.train.Example`, from the wire format alone."""

    def varint(at):
        value = shift = 0
        while data[at] & 0x80:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        return value | data[at] << shift, at + 1

    def fields(at, end):
        while at < end:
            key, at = varint(at)
            assert key & 7 == 2  # length-delimited, all of them
            size, at = varint(at)
            yield key >> 3, at, at + size
            at += size
        assert at == end

    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        example = {}
        ((_, *features),) = fields(at + 12, at + 12 + size)
        for _, start, end in fields(*features):
            (_, *key), (_, *feature) = fields(start, end)
            ((kind, *values),) = fields(*feature)
            ((_, first, last),) = fields(*values)
            value = data[first:last] if kind == 1 else varint(first)
            assert kind == 1 or value[1] == last
            example[data[slice(*key)].decode()] = value if kind == 1 else value[0]
        yield example
        at += size + 16


def test_a_parser_of_the_wire_format(there):
    tokens, columns = there
    paths = sorted(Path("out/shards").glob("*.tfrecord"))
    found = [example for path in paths for example in parse_by_hand(path.read_bytes())]
    assert len(found) == RECORDS
    for k, example in enumerate(found):
        assert list(example) == ["epoch", "sequence", "subset", "tokens"]
        assert np.array_equal(np.frombuffer(example["tokens"], "<u2"), tokens[k])
        names = ("subset", "sequence", "epoch")
        assert [example[name] for name in names] == [int(column[k]) for column in columns]


def test_the_record_in_the_page():
    rows = re.findall(r"^\| (\d+) \| `([0-9a-f ]+)` \|", PAGE, re.M)
    text = b"".join(bytes.fromhex(data) for _, data in rows)
    starts = np.cumsum([0, *(len(bytes.fromhex(data)) for _, data in rows)])
    assert [int(start) for start, _ in rows] == starts[:-1].tolist()
    one = [np.array([value]) for value in (3, 300, 1)]
    record = layout(3, "uint16").encode(np.array([[1, 2, 515]], np.uint16), *one)
    assert record.tobytes() == text
    offsets = re.search(
        r"`epoch` stands at byte (\d+), .* at (\d+), .* at (\d+) and\s.* (\d+)", PAGE
    )
    assert list(layout(2049, "uint16").offsets.values()) == [int(at) for at in offsets.groups()]


def test_massivetext(there):
    tokens, columns = there
    names = run("massivetext")
    assert np.array_equal(names["tokens"], tokens[20])
    assert np.array_equal(names["records"].tokens, tokens[16:24])
    assert np.array_equal(names["mine"].tokens, tokens[18:20])
    assert names["validation"].targets.tolist() == [6, 6, 5]
    whole = names["opened"].read(0, RECORDS)
    for got, expected in zip(whole, (tokens, *columns, targets(columns)), strict=True):
        assert np.array_equal(got, expected)


def test_numpy_alone(there):
    tokens, _ = there
    reader = run("NumPy alone")["Reader"]("out/shards")
    assert len(reader) == RECORDS
    for k in range(RECORDS):
        assert np.array_equal(reader[k], tokens[k])


def test_numpy_alone_finds_damage(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out/shards/train-00002-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    reader = run("NumPy alone")["Reader"]("out/shards")
    assert len(reader[RECORDS - 2]) == LENGTH + 1
    with pytest.raises(ValueError, match=f"record {RECORDS - 1} is corrupt"):
        reader[RECORDS - 1]


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("start", [0, 3, STEPS])
def test_grain(there, ranks, start):
    needs("grain", "grain")
    tokens, columns = there
    batches = run("grain")["batches"]
    parts = [list(batches("out/shards", BATCH, start, rank, ranks)) for rank in range(ranks)]
    assert [len(part) for part in parts] == [STEPS - start] * ranks
    expected = dict(zip(shards.Records._fields, (tokens, *columns, targets(columns)), strict=True))
    for step, batch in enumerate(zip(*parts, strict=True), start):
        for name, column in expected.items():
            got = np.concatenate([part[name] for part in batch])
            assert np.array_equal(got, column[step * BATCH : (step + 1) * BATCH])


def test_grain_restores_its_place(there):
    needs("grain", "grain")
    tokens, _ = there
    batches = run("grain")["batches"]
    iterator = iter(batches("out/shards", BATCH))
    for _ in range(3):
        next(iterator)
    state = iterator.get_state()
    iterator = iter(batches("out/shards", BATCH))
    iterator.set_state(state)
    assert np.array_equal(next(iterator)["tokens"], tokens[3 * BATCH : 4 * BATCH])


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("start", [0, 3, STEPS])
def test_pytorch(there, ranks, start, workers):
    needs("torch", "torch")
    tokens, columns = there
    load = run("PyTorch")["loader"]
    parts = [list(load("out/shards", BATCH, start, rank, ranks, workers)) for rank in range(ranks)]
    wanted = tokens[:, 1:].astype(np.int64)
    wanted[np.arange(LENGTH) >= targets(columns)[:, None]] = -100
    assert (wanted == -100).sum() == 2
    for part in parts:
        assert [batch["step"] for batch in part] == list(range(start, STEPS))
    for step, batch in enumerate(zip(*parts, strict=True), start):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        inputs = np.concatenate([part["inputs"].numpy() for part in batch])
        assert np.array_equal(inputs, tokens[rows, :-1])
        found = np.concatenate([part["targets"].numpy() for part in batch])
        assert np.array_equal(found, wanted[rows])


def test_tensorflow_alone(there):
    needs("tensorflow", "massivetext[tf]")
    tokens, columns = there
    found = list(run("tf.data", 1)["dataset"].as_numpy_iterator())
    assert len(found) == STEPS - 2
    whole = {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
    names = ("tokens", "subset", "sequence", "epoch")
    for name, column in zip(names, (tokens, *columns), strict=True):
        assert np.array_equal(whole[name], column[2 * BATCH :])


def test_as_tf_dataset(there):
    tf = needs("tensorflow", "massivetext[tf]")
    tokens, columns = there
    names = run("tf.data")
    last = tokens[3 * BATCH + 2 : 3 * BATCH + 4]  # the second of four readers, step 3
    assert np.array_equal(names["inputs"], last[:, :-1])
    assert np.array_equal(names["targets"], last[:, 1:])
    expected = dict(zip(shards.Records._fields, (tokens, *columns, targets(columns)), strict=True))
    for start in (0, 5, STEPS):
        readers = [
            as_tf_dataset("out/shards", BATCH, start=start, shard=shard, num_shards=2)
            for shard in range(2)
        ]
        assert readers[0].element_spec["tokens"] == tf.TensorSpec((4, LENGTH + 1), tf.int32)
        both = list(zip(*(reader.as_numpy_iterator() for reader in readers), strict=True))
        assert len(both) == STEPS - start
        for step, parts in enumerate(both, start):
            for name, column in expected.items():
                got = np.concatenate([part[name] for part in parts])
                assert np.array_equal(got, column[step * BATCH : (step + 1) * BATCH])
    for wrong in ({"start": STEPS + 1}, {"start": -1}, {"num_shards": 3}, {"shard": 1}):
        with pytest.raises(ValueError, match=r"outside|cannot be shared"):
            as_tf_dataset("out/shards", BATCH, **wrong)


def test_as_tf_dataset_names_the_damage(tmp_path):
    tf = needs("tensorflow", "massivetext[tf]")
    write(tmp_path)
    path = tmp_path / "out/shards/train-00002-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(tf.errors.OpError, match=r"00002-of-00003.tfrecord: record 39 at byte"):
        list(as_tf_dataset(tmp_path / "out/shards", BATCH))
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="39 whole records of 40"):
        as_tf_dataset(tmp_path / "out/shards", BATCH)


def test_tensorflow_is_asked_for_by_name(there, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MassivetextError, match=r'pip install "massivetext\[tf\]"'):
        as_tf_dataset("out/shards", BATCH)
