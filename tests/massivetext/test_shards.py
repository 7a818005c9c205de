"""Reading shards: any record at once, and a clear error for every kind of damage."""

import json
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from massivetext import shards as shards_module
from massivetext.config import Mixture
from massivetext.config_file import to_dict
from massivetext.dataset import sha256_file
from massivetext.errors import InputError, VerifyError
from massivetext.mixture import plan
from massivetext.order import Order
from massivetext.record_files import RecordFiles
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
    columns = RECORD.decode(np.frombuffer(path.read_bytes(), np.uint8), path, 0, True)[:4]
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


def test_the_folder_or_its_manifest_is_opened(made, tmp_path):
    whole = shards_module.open(made).read(0, 90).tokens
    (made / "other.json").write_text((made / "manifest.json").read_text())
    for manifest in (str(made), made / "manifest.json", made / "other.json"):
        assert np.array_equal(shards_module.open(manifest)[57], whole[57])
    (made / "other.json").unlink()
    with pytest.raises(InputError, match=r"manifest.json is missing; run massivetext mix first"):
        shards_module.open(tmp_path / "nowhere" / "manifest.json")


def test_records_are_numbered_as_in_a_list(made):
    shards = shards_module.open(made)
    whole = shards.read(0, 90).tokens
    assert np.array_equal(shards[-1], whole[89])
    assert np.array_equal(shards[-90], whole[0])
    assert np.array_equal(shards[np.int32(41)], whole[41])
    assert np.array_equal(shards[38:42], whole[38:42])
    assert np.array_equal(shards[-3:], whole[87:])
    assert shards[50:10].shape == (0, LENGTH + 1)
    assert [row.tolist() for row in shards] == whole.tolist()


def test_records_outside_are_refused(made):
    shards = Shards.open(made)
    for k in (-91, 90, 10**30):
        with pytest.raises(IndexError, match="outside the 90 records"):
            shards[k]
    for start, stop in [(-1, 3), (5, 4), (0, 91)]:
        with pytest.raises(IndexError):
            shards.read(start, stop)
    with pytest.raises(ValueError, match="step 1, not 2"):
        shards[::2]
    with pytest.raises(TypeError):
        shards[1.0]


@pytest.mark.parametrize("readers", [1, 2, 3, 6])
def test_readers_share_each_step(made, readers):
    shards = Shards.open(made)
    for step in range(90 // 6):
        parts = [shards.batch(step, 6, reader, readers) for reader in range(readers)]
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        for got, expected in zip(columns, shards.read(6 * step, 6 * step + 6), strict=True):
            assert np.array_equal(got, expected)


def test_batches_that_cannot_be_shared(made):
    shards = Shards.open(made)
    for size, readers in [(6, 4), (0, 1), (6, 0), (2, 4)]:
        with pytest.raises(ValueError, match="cannot be shared by"):
            shards.batch(0, size, 0, readers)
    for reader in (-1, 2):
        with pytest.raises(ValueError, match="outside"):
            shards.batch(0, 6, reader, 2)
    for step in (-1, 15):
        with pytest.raises(IndexError):
            shards.batch(step, 6)


def test_other_processes_open_the_files_anew(made):
    shards = Shards.open(made)
    shards.read(0, 90)
    for files in (shards, shards.heldout("c")):
        # How PyTorch's DataLoader hands them to its workers; nothing of ours stores a pickle.
        copied = pickle.loads(pickle.dumps(files))
        assert np.array_equal(copied[1], files[1])
        assert len(copied) == len(files)


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
    message = r"00002-of-00003.tfrecord is missing .*, with the records 80 to 89 of all"
    with pytest.raises(InputError, match=message):
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


def test_a_shard_that_changes_after_opening(copy):
    shards = Shards.open(copy)
    path = shard(copy, 1)
    data = path.read_bytes()
    path.write_bytes(data[: -5 * RECORD.record_bytes])
    message = "00001-of-00003.tfrecord has .*: 35 whole records of 40"
    with pytest.raises(InputError, match=message):
        shards[40]
    path.unlink()
    with pytest.raises(InputError, match=r"missing .*, with the records 40 to 79 of all"):
        shards.read(30, 50)
    assert len(shards.read(0, 40).tokens) == 40


def test_more_shards_than_open_files(tmp_path):
    zeros = np.zeros(1, np.int64)
    files = []
    for number in range(1100):
        tokens = np.full((1, LENGTH + 1), number, np.uint16)
        path = tmp_path / f"{number}.tfrecord"
        write(path, RECORD.encode(tokens, zeros, zeros, zeros))
        files.append((path, 1))
    opened = RecordFiles(files, RECORD, np.array([LENGTH]), 2000, check=True)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    try:
        for _ in range(2):
            assert opened[:][:, 0].tolist() == list(range(1100))
        assert [int(opened[k][5]) for k in range(1100)] == list(range(1100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def alone_and_in_a_range(folder, k, message):
    with pytest.raises(InputError, match=message):
        Shards.open(folder)[k]
    with pytest.raises(InputError, match=message):
        Shards.open(folder).read(k, k + 1)


def test_shards_of_another_tokenizer(copy):
    """A whole shard, with right CRC, whose ids this vocabulary does not have."""

    def other(row, tokens, *_):
        tokens[row] = 999
        tokens[row, 3] = 1000

    rewrite(copy, 1, 17, other)
    offset = 17 * RECORD.record_bytes
    message = rf"00001-of.*: record 17 at byte {offset:,} \(record 57 of all\): a token is outside"
    alone_and_in_a_range(copy, 57, message)
    assert Shards.open(copy)[56].max() < 1000
    edit(copy, lambda manifest: manifest.update(vocab_size=1001))
    assert Shards.open(copy)[57].max() == 1000
    edit(copy, lambda manifest: manifest.update(vocab_size=1000))
    assert Shards.open(copy, check=False)[57].max() == 1000


def test_shards_of_another_run(copy):
    rewrite(copy, 1, 17, lambda row, tokens, subset, *_: subset.__setitem__(row, 3))
    offset = 17 * RECORD.record_bytes
    message = rf"00001-of.*: record 17 at byte {offset:,} \(record 57 of all\): its subset index 3"
    with pytest.raises(InputError, match=message):
        Shards.open(copy).read(50, 60)
    rewrite(copy, 1, 17, beyond)
    edit(copy, lambda manifest: manifest["subsets"][0].update(available_tokens=480))
    rewrite(copy, 1, 17, lambda row, tokens, subset, *_: subset.__setitem__(row, 0))
    message = rf"00001-of.*: record 17 at byte {offset:,} .*it lies behind the subset's tokens"
    with pytest.raises(InputError, match=message):
        Shards.open(copy).read(50, 60)
    edit(copy, lambda manifest: manifest["subsets"][0].update(available_tokens=481))
    assert Shards.open(copy).read(50, 60).targets[7] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("vocab_size"), "vocab_size is missing"),
        (lambda m: m.update(sequence_length="8"), "sequence_length is '8'"),
        (lambda m: m.update(sequence_length=True), "sequence_length is True"),
        (lambda m: m.update(sequence_length=0), "sequence_length is 0"),
        (lambda m: m.update(sequence_length=9), "record_bytes is 1.., but a record of 9"),
        (lambda m: m.update(dtype="uint32"), "record_bytes is .* tokens of uint32 has"),
        (
            lambda m: m.update(dtype="int64"),
            "sequence_length is 8 and dtype 'int64' .of uint16, uint32",
        ),
        (lambda m: m.update(files=[3]), r"files\[0\] is not an object"),
        (
            lambda m: m["files"][1].update(records=39),
            r"files\[1\] .train-00001.* has 4,760 bytes; its",
        ),
        (lambda m: m["files"][1].update(records=-1), r"files\[1\].records is -1"),
        (lambda m: m["files"].pop(), "its files hold 80 records; sequences is 90"),
        (lambda m: m["files"].insert(0, m["files"][0]), r"files\[1\]: train-00000.* listed twice"),
        (lambda m: m["subsets"].reverse(), r"subsets\[0\].index is 2"),
        (lambda m: m["heldout"]["c"].update(sequences=4), "heldout.c .heldout/c.tfrecord. has"),
        (lambda m: m["heldout"].update(z=m["heldout"].pop("c")), "heldout.z is of no subset"),
        (lambda m: m.update(heldout=[]), "heldout is .*it changed after it was written"),
    ],
)
def test_manifests_edited_by_hand(copy, change, message):
    edit(copy, change)
    with pytest.raises(InputError, match=rf"manifest.json: {message}"):
        Shards.open(copy)


def test_manifests_that_are_not_json(copy):
    for broken in (b"{", b'{"a": "\xff"}'):
        (copy / "manifest.json").write_bytes(broken)
        with pytest.raises(InputError, match=r"manifest.json is not valid JSON"):
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
