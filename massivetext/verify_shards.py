"""Proof that a folder of shards is what its manifest says: every byte read, every record judged."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numba
import numpy as np

from .errors import InputError, MassivetextError, VerifyError
from .mixture import from_manifest, plan, resolve_stages
from .mixture_plan import MixturePlan, Stock
from .order import Order, make_order
from .progress import Progress
from .shards import HeldOut, RecordFiles, Records, Shards
from .storage import Location, location, sizes
from .stored import StoredSequences

CHUNK_RECORDS = 4096

_PROBLEMS = {
    1: "its subset is a sequence or more away from its share of the records so far",
    2: "its epoch is not the next of its subset",
    3: "its sequence does not exist in the subset",
    4: "its sequence is used twice in one epoch",
}


def verify(
    folder: Location | str, *, quiet: bool = False, tokens: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Prove the shards in `folder` against their manifest; yield a line for each proof.

    Proven: the plan follows from the weights and the token counts; every file has its size, its
    sha256 and right CRCs, and no other shard lies beside them; the record at each position is the
    one that the seed gives; at every prefix each subset is within one sequence of its share; in
    every epoch each sequence is used exactly once, the last epoch in part; tokens are below the
    vocabulary's size and padding is padding; held-out sets hold the targets they claim. With
    `tokens`, the manifest of the token stores beside `folder`: every record holds the tokens that
    its construction takes from them. Memory: one bit per sequence of the subsets.

    Raises:
      VerifyError: the first thing that is wrong, with file and record where it has one.
    """
    folder = location(folder)
    try:
        shards = Shards.open(folder)
        heldout = {name: shards.heldout(name) for name in shards.heldout_names}
    except InputError as error:
        raise VerifyError(str(error)) from error
    planned = _check_plan(shards)
    stores = StoredSequences(shards, planned, tokens) if tokens is not None else None
    _check_no_others(shards, heldout)
    yield f"plan: {planned.sequences:,} sequences as weights, tokens and max_epochs give them"
    done = 0
    size = shards.record.record_bytes
    total = (len(shards) + sum(map(len, heldout.values()))) * size
    with Progress("verify shards", total, lambda: done * size, quiet=quiet):
        for done in _check_train(shards, planned, stores):  # noqa: B007 - `Progress` reads it
            pass
        yield f"shards: {len(shards):,} records in {len(shards.paths)} files, CRC and sha256 right"
        yield f"order: every record is the one that seed {shards.manifest['seed']} puts there"
        yield "proportions: at every prefix each subset is within one sequence of its share"
        if stores is not None:
            yield "contents: every record is what its construction takes from the token stores"
        for name, files in heldout.items():
            _check_heldout(name, files, shards.manifest, stores)
            done += len(files)
            yield f"held-out {name}: {len(files):,} records, {files.targets:,} targets"


def _check_train(
    shards: Shards, planned: MixturePlan, stores: StoredSequences | None
) -> Iterator[int]:
    """Check all training records; yield how many are behind."""
    order = make_order(planned, shards.manifest["seed"])
    tally = _Tally(order)
    digests = _Digests([entry["sha256"] for entry in shards.manifest["files"]], shards)
    for start in range(0, len(shards), CHUNK_RECORDS):
        stop = min(start + CHUNK_RECORDS, len(shards))
        records = _read(shards, start, stop)
        _check_tokens(shards, shards.manifest, start, records)
        tally.add(shards, start, records)
        _check_order(shards, order, start, stop, records)
        if stores is not None:
            _check_contents(shards, start, records, stores.training(records))
        digests.add(start, stop)
        yield stop


def _check_plan(shards: Shards) -> MixturePlan:
    manifest, path = shards.manifest, shards.folder / "manifest.json"
    entries = manifest["subsets"]
    try:
        mixture = from_manifest(manifest["mixture"])
        weights = [{entry["name"]: entry["weight"] for entry in entries}]
        if mixture.stages:
            weights = resolve_stages(mixture, [entry["name"] for entry in entries])
        length = mixture.sequence_length
        planned = plan(mixture, weights, {e["name"]: _stock(e, length) for e in entries})
    except (MassivetextError, ValueError, TypeError) as error:
        raise VerifyError(f"{path}: its mixture makes no plan: {error}") from error
    for index, entry in enumerate(entries):
        expected = planned.entry(index)
        if entry != expected:
            raise VerifyError(f"{path}: its weights give {expected}, but it has {entry}")
    if mixture.stages and manifest.get("stages") != planned.stage_entries():
        raise VerifyError(f"{path}: its stages are not those that its mixture gives")
    if not len(shards) == planned.sequences == manifest["sequences"]:
        raise VerifyError(
            f"{path}: its files hold {len(shards)} records; its weights give {planned.sequences}"
        )
    return planned


def _stock(entry: dict[str, Any], length: int) -> Stock:
    available, crops = entry["available_tokens"], entry.get("crops", 0)
    return Stock(entry.get("stored_tokens", available), crops, available - crops * length)


def _check_no_others(shards: Shards, heldout: dict[str, HeldOut]) -> None:
    listed = {path for files in (shards, *heldout.values()) for path in files.paths}
    found = (shards.folder / name for name in sorted(sizes(shards.folder)))
    for path in found:
        if path.name.endswith(".tfrecord") and path not in listed:
            raise VerifyError(
                f"{path} is not in the manifest; a *.tfrecord reader would train on it: delete it"
            )


def _read(files: RecordFiles, start: int, stop: int) -> Records:
    try:
        return files.read(start, stop)
    except InputError as error:
        raise VerifyError(str(error)) from error


def _fail(files: RecordFiles, record: int, what: str) -> None:
    file, within = files.locate(record)
    offset = within * files.record.record_bytes
    raise VerifyError(f"{files.paths[file]}: record {within} at byte {offset:,}: {what}")


def _check_tokens(
    files: RecordFiles, manifest: dict[str, Any], start: int, records: Records
) -> None:
    beyond = records.tokens.max(axis=1) >= manifest["vocab_size"]
    if beyond.any():
        _fail(files, start + int(beyond.argmax()), "a token is outside the vocabulary")
    empty = records.targets < 1
    if empty.any():
        _fail(files, start + int(empty.argmax()), "its sequence lies behind the subset's tokens")
    for row in np.flatnonzero(records.targets < records.tokens.shape[1] - 1):
        padding = records.tokens[row, 1 + records.targets[row] :]
        if (padding != manifest["pad_id"]).any():
            _fail(files, start + int(row), "a token after the subset's end is not padding")


def _check_contents(
    files: RecordFiles, start: int, records: Records, expected: Iterator[np.ndarray]
) -> None:
    for row, tokens in enumerate(expected):
        if not np.array_equal(records.tokens[row], tokens):
            _fail(files, start + row, "its tokens are not those of the token store")


def _check_order(shards: Shards, order: Order, start: int, stop: int, records: Records) -> None:
    expected = order.positions(start, stop)
    wrong = (
        (records.subset != expected.subset)
        | (records.sequence != expected.sequence)
        | (records.epoch != expected.epoch)
    )
    if wrong.any():
        row = int(wrong.argmax())
        names = [entry["name"] for entry in shards.manifest["subsets"]]
        _fail(
            shards,
            start + row,
            f"it is sequence {records.sequence[row]} of {names[records.subset[row]]} in epoch "
            f"{records.epoch[row]}, but seed and weights put sequence {expected.sequence[row]} of "
            f"{names[expected.subset[row]]} in epoch {expected.epoch[row]} there",
        )


class _Digests:
    """sha256 of each shard, fed by ranges of records in order."""

    def __init__(self, expected: list[str], files: RecordFiles):
        self.expected, self.files = expected, files
        self.digest = hashlib.sha256()

    def add(self, start: int, stop: int) -> None:
        while start < stop:
            file, within = self.files.locate(start)
            end = min(stop, self.files.starts[file + 1])
            framed = self.files.framed(file, within, end - start)
            self.digest.update(framed.view(np.uint8).data)
            if end == self.files.starts[file + 1]:
                if self.digest.hexdigest() != self.expected[file]:
                    raise VerifyError(f"{self.files.paths[file]}: its sha256 is not the manifest's")
                self.digest = hashlib.sha256()
            start = end


def _check_heldout(
    name: str, files: HeldOut, manifest: dict[str, Any], stores: StoredSequences | None
) -> None:
    entry = manifest["heldout"][name]
    index = next(s["index"] for s in manifest["subsets"] if s["name"] == name)
    if len(files) != -(-entry["targets"] // manifest["sequence_length"]):
        raise VerifyError(
            f"{files.paths[0]}: {len(files)} records cannot hold {entry['targets']:,} targets"
        )
    digests = _Digests([entry["sha256"]], files)
    for start in range(0, len(files), CHUNK_RECORDS):
        stop = min(start + CHUNK_RECORDS, len(files))
        records = _read(files, start, stop)
        wrong = (
            (records.subset != index)
            | (records.sequence != np.arange(start, stop))
            | (records.epoch != 0)
        )
        if wrong.any():
            _fail(files, start + int(wrong.argmax()), f"it is not the next record of {name}")
        _check_tokens(files, manifest, start, records)
        if stores is not None:
            _check_contents(files, start, records, stores.heldout(name, start, stop))
        digests.add(start, stop)


class _Tally:
    """Counts what is stored, without the code that made the order."""

    def __init__(self, order: Order):
        self.order = order
        self.counts = np.zeros(len(order.used), np.int64)
        self.base = np.concatenate([[0], np.cumsum((order.available + 7) // 8)])
        self.seen = np.zeros(int(self.base[-1]), np.uint8)

    def add(self, files: RecordFiles, start: int, records: Records) -> None:
        order = self.order
        for stage, first, last in order.within_stages(start, start + len(records.subset)):
            here = slice(first - start, last - start)
            row, problem = _tally(
                first - order.starts[stage], records.subset[here], records.sequence[here],
                records.epoch[here], order.stages[stage], order.before[stage], order.available,
                self.counts, self.base, self.seen,
            )  # fmt: skip
            if problem:
                _fail(files, first + row, _PROBLEMS[problem])


@numba.njit(cache=True, nogil=True)
def _tally(  # type: ignore[no-untyped-def]
    start, subset, sequence, epoch, used, before, available, counts, base, seen
):
    """Count records of one stage, from its record `start` on."""
    total = used.sum()
    for i in range(len(subset)):
        s = subset[i]
        if sequence[i] >= available[s]:
            return i, 3
        if epoch[i] != counts[s] // available[s]:
            return i, 2
        if counts[s] % available[s] == 0:
            seen[base[s] : base[s + 1]] = 0
        byte = base[s] + (sequence[i] >> 3)
        bit = np.uint8(1 << (sequence[i] & 7))
        if seen[byte] & bit:
            return i, 4
        seen[byte] |= bit
        counts[s] += 1
        # |count in the stage - k * used / total| < 1 for every subset, in integers.
        for t in range(len(used)):
            gap = (counts[t] - before[t]) * total - (start + i + 1) * used[t]
            if gap >= total or gap <= -total:
                return i, 1
    return 0, 0
