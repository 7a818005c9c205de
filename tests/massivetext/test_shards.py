"""Reading shards: any record at once, and a clear error for every kind of damage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from massivetext.config import Mixture
from massivetext.config_file import to_dict
from massivetext.dataset import sha256_file
from massivetext.errors import InputError, VerifyError
from massivetext.mixture import plan
from massivetext.order import Order
from massivetext.shards import Shards
from massivetext.tfrecord import layout
from massivetext.verify_shards import verify

LENGTH = 8
PAD = 1
AVAILABLE = {"a": 83, "b": 400, "c": 5}  # tokens; 11, 50 and 1 sequences
WEIGHTS = {"a": 0.3, "b": 0.7, "c": 0.0}
MIXTURE = Mixture(tokens=720, sequence_length=LENGTH, weights=WEIGHTS, shard_sequences=40)
RECORD = layout(LENGTH + 1, "uint16")


def sequence(subset, number, tokens):
    """Tokens that say where they are from; the last sequence is padded."""
    out = 100 + 10 * subset + (number * LENGTH + np.arange(LENGTH + 1)) % 7
    out[1 + min(LENGTH, tokens - number * LENGTH) :] = PAD
    return out.astype(np.uint16)


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(records.tobytes())
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def encode(at, tokens):
    rows = zip(*(column.tolist() for column in at[:2]), strict=True)
    packed = np.array([sequence(s, n, tokens[s]) for s, n in rows])
    return RECORD.encode(packed, *at)


def make(folder):
    """Shards of 90 records written without the pipeline: 3.27 epochs of a, 1.26 of b."""
    mixture = MIXTURE
    planned = plan(mixture, WEIGHTS, AVAILABLE)
    order = Order(
        {subset.name: subset.used for subset in planned.subsets},
        {subset.name: subset.sequences for subset in planned.subsets},
        5,
    )
    files = []
    for number, start in enumerate(range(0, 90, 40)):
        stop = min(start + 40, 90)
        path = folder / f"train-{number:05d}-of-00003.tfrecord"
        written = write(path, encode(order.positions(start, stop), list(AVAILABLE.values())))
        files.append({"path": path.name, "records": stop - start, **written})
    held = (np.full(3, 2), np.arange(3), np.zeros(3, int))
    path = folder / "heldout" / "c.tfrecord"
    entry = {
        "path": "heldout/c.tfrecord", "sequences": 3, "targets": 20, "text_bytes": 77,
        "documents": 4, **write(path, encode(held, [0, 0, 20])),
    }  # fmt: skip
    manifest = {
        "format": "massivetext-shards", "version": 1, "sequence_length": LENGTH,
        "record_bytes": RECORD.record_bytes, "dtype": "uint16", "vocab_size": 1000, "eos_id": 0,
        "pad_id": PAD, "tokenizer_sha256": "", "seed": 5, "sequences": 90,
        "subsets": [planned.entry(index) for index in range(3)], "files": files,
        "heldout": {"c": entry}, "mixture": to_dict(mixture),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "shards"))


def shard(folder, number):
    return folder / f"train-{number:05d}-of-00003.tfrecord"


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(folder, number, row, change):
    """Change the columns of one record, with right CRC and sha256: a wrong but whole shard."""
    path = shard(folder, number)
    records = np.frombuffer(path.read_bytes(), RECORD.dtype)
    columns = [column.copy() for column in RECORD.decode(records, path, 0, True)]
    change(row, *columns)
    written = write(path, RECORD.encode(*columns))
    edit(folder, lambda manifest: manifest["files"][number].update(written))


def test_every_record_alone_and_in_ranges(made):
    shards = Shards.open(made)
    assert len(shards) == 90
    assert shards.sequence_length == LENGTH
    whole = shards.read(0, 90)
    tokens = list(AVAILABLE.values())
    for k in range(90):
        expected = sequence(whole.subset[k], whole.sequence[k], tokens[whole.subset[k]])
        assert np.array_equal(shards[k], expected)
        assert np.array_equal(whole.tokens[k], expected)
        assert shards[k].dtype == whole.tokens.dtype == np.uint16
    for start, stop in [(0, 0), (39, 41), (40, 80), (7, 90), (90, 90)]:
        for got, expected in zip(shards.read(start, stop), whole, strict=True):
            assert np.array_equal(got, expected[start:stop])
    assert np.bincount(whole.subset).tolist() == [27, 63]
    assert np.bincount(whole.epoch[whole.subset == 0]).tolist() == [11, 11, 5]


def test_padding_is_counted_out_of_the_targets(made):
    records = Shards.open(made).read(0, 90)
    last = (records.subset == 0) & (records.sequence == 10)
    assert set(records.targets[last].tolist()) == {3}
    assert set(records.targets[~last].tolist()) == {LENGTH}


def test_held_out_records(made):
    shards = Shards.open(made)
    assert shards.heldout_names == ("c",)
    held = shards.heldout("c")
    assert (len(held), held.targets, held.text_bytes, held.documents) == (3, 20, 77, 4)
    records = held.read(0, 3)
    assert records.targets.tolist() == [8, 8, 4]
    assert records.subset.tolist() == [2, 2, 2]
    assert records.tokens[2].tolist() == sequence(2, 2, 20).tolist() == held[2].tolist()
    with pytest.raises(InputError, match="no held-out set of 'cc'; did you mean 'c'"):
        shards.heldout("cc")


def test_records_outside_are_refused(made):
    shards = Shards.open(made)
    for k in (-1, 90):
        with pytest.raises(IndexError):
            shards[k]
    for start, stop in [(-1, 3), (5, 4), (0, 91)]:
        with pytest.raises(IndexError):
            shards.read(start, stop)


@pytest.mark.parametrize("byte", [0, 11, 12, 60, RECORD.record_bytes - 1])
def test_a_flipped_bit_names_shard_record_and_byte(copy, byte):
    path = shard(copy, 1)
    data = bytearray(path.read_bytes())
    data[17 * RECORD.record_bytes + byte] ^= 4
    path.write_bytes(data)
    offset = 17 * RECORD.record_bytes
    message = rf"train-00001-of-00003.tfrecord: record 17 at byte {offset:,}"
    with pytest.raises(InputError, match=message):
        Shards.open(copy).read(30, 90)
    if byte >= 12:
        with pytest.raises(InputError, match=message):
            Shards.open(copy)[57]
    assert len(Shards.open(copy).read(30, 57).tokens) == 27
    with pytest.raises(VerifyError, match=message):
        list(verify(copy, quiet=True))


def test_without_check_only_the_frame_is_judged(copy):
    path = shard(copy, 1)
    data = bytearray(path.read_bytes())
    data[RECORD.record_bytes - 6] ^= 4  # in the last token of the first record
    path.write_bytes(data)
    shards = Shards.open(copy, check=False)
    assert np.array_equal(shards.read(40, 41).tokens[0], shards[40])


def test_truncated_missing_and_long_shards(copy):
    path = shard(copy, 2)
    data = path.read_bytes()
    size = RECORD.record_bytes
    path.write_bytes(data[:-1])
    message = rf"00002-of.*9 whole records of 10, then {size - 1} bytes at byte {9 * size:,}"
    with pytest.raises(InputError, match=message):
        Shards.open(copy)
    path.write_bytes(data + data[:size])
    with pytest.raises(InputError, match="11 whole records of 10;"):
        Shards.open(copy)
    path.unlink()
    with pytest.raises(InputError, match=r"00002-of-00003.tfrecord is missing"):
        Shards.open(copy)
    with pytest.raises(VerifyError, match="is missing"):
        list(verify(copy, quiet=True))


def test_manifests_that_cannot_be_read(copy, tmp_path):
    with pytest.raises(InputError, match="no shards in"):
        Shards.open(tmp_path)
    edit(copy, lambda manifest: manifest.update(version=2))
    with pytest.raises(InputError, match="version 2; this massivetext reads 1"):
        Shards.open(copy)
    edit(copy, lambda manifest: manifest.pop("format"))
    with pytest.raises(InputError, match="not a manifest of shards"):
        Shards.open(copy)


def test_verify_proves_sound_shards(made):
    lines = list(verify(made, quiet=True))
    assert lines[0].startswith("plan: 90 sequences")
    assert lines[-1] == "held-out c: 3 records, 20 targets"
    assert len(lines) == 5


def test_a_manifest_from_before_stages_and_constructions_is_still_proved(copy):
    def older(manifest):
        del manifest["mixture"]["stages"], manifest["mixture"]["construction"]

    edit(copy, older)
    assert len(list(verify(copy, quiet=True))) == 5


def swap(row, *columns):
    for column in columns:
        column[[row, row + 1]] = column[[row + 1, row]]


def set_sequence(row, tokens, subset, sequence, epoch):
    sequence[row] = sequence[row - 1] if subset[row] == subset[row - 1] else sequence[row - 2]


def set_token(row, tokens, subset, sequence, epoch):
    tokens[row, 3] = 1000


def set_epoch(row, tokens, subset, sequence, epoch):
    epoch[row] += 1


def set_subset(row, tokens, subset, sequence, epoch):
    subset[row] = 2


def beyond(row, tokens, subset, sequence, epoch):
    sequence[row] = 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap, "but seed and weights put sequence"),
        (set_sequence, "used twice in one epoch|but seed and weights"),
        (set_token, "record 5 at byte .*a token is outside the vocabulary"),
        (set_epoch, "record 5 .*its epoch is not the next"),
        (set_subset, "record 5 at byte"),
        (beyond, "record 5 .*behind the subset's tokens"),
    ],
)
def test_verify_finds_whole_shards_with_wrong_contents(copy, change, message):
    rewrite(copy, 0, 5, change)
    with pytest.raises(VerifyError, match=message):
        list(verify(copy, quiet=True))


def test_verify_finds_tokens_in_the_padding(copy):
    records = Shards.open(copy).read(0, 40)
    row = int(np.flatnonzero(records.targets < LENGTH)[0])

    def fill(row, tokens, *_):
        tokens[row, -1] = 7

    rewrite(copy, 0, row, fill)
    with pytest.raises(VerifyError, match=rf"record {row} .*is not padding"):
        list(verify(copy, quiet=True))


def test_verify_finds_an_order_that_drifts_from_the_weights(copy):
    def sort(row, *columns):
        order = np.argsort(columns[1], kind="stable")
        for column in columns:
            column[:] = column[order]

    rewrite(copy, 0, 0, sort)
    with pytest.raises(VerifyError, match=r"a sequence or more away from its share"):
        list(verify(copy, quiet=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["subsets"][0].update(sequences=28), "its weights give"),
        (lambda m: m["subsets"][0].update(weight=0.31), "its weights give"),
        (lambda m: m["mixture"].update(max_epochs=2.0), "makes no plan: subset 'a'"),
        (lambda m: m.update(seed=6), "but seed and weights put"),
        (lambda m: m["files"][1].update(sha256="0" * 64), "00001-of.*sha256 is not"),
        (lambda m: m["files"].pop(), "hold 80 records|is not in the manifest"),
        (lambda m: m["heldout"]["c"].update(targets=25), "cannot hold 25 targets"),
        (lambda m: m["heldout"]["c"].update(targets=19), "is not padding"),
        (lambda m: m["heldout"].pop("c"), "c.tfrecord is not in the manifest"),
    ],
)
def test_verify_finds_manifests_that_lie(copy, change, message):
    edit(copy, change)
    with pytest.raises(VerifyError, match=message):
        list(verify(copy, quiet=True))
