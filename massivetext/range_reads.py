"""Byte ranges of files on object stores: read ahead where they are read in order, alone elsewhere.

A request costs tens of milliseconds whatever it asks for, so who reads in order must never wait for
one, and who gathers pieces must not wait for one after the other. Who reads a record here and there
fetches that record and nothing else.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numba
import numpy as np
import numpy.typing as npt

from .errors import InputError
from .storage import Location, named
from .store_errors import reason

if TYPE_CHECKING:
    from upath import UPath

# Asked for at once: most of the time of a request is then the time of its bytes.
CHUNK_BYTES = 4 << 20
# Read ahead of a reader in order, and gathered at once: a bound for memory.
AHEAD_BYTES = 16 << 20
GATHERED_BYTES = 64 << 20
# Fetching as many bytes that nobody wants takes less than another request.
GAP_BYTES = 64 << 10
REQUESTS = 8

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


class _Chunk(NamedTuple):
    begin: int
    end: int
    data: "Future[bytes]"


class ReadAhead:
    """Files of known sizes on an object store, read as one stream of bytes; for any threads.

    Whoever reads in order is read ahead of, further with every read and on into the next file. A
    jump ends that: only what is asked for is fetched until the next read follows the one before.

    Args:
      bounds: where each file begins in the stream, and its end, [files + 1].
    """

    def __init__(self, paths: Sequence[Location], bounds: Sequence[int]):
        self._paths, self._bounds = paths, bounds
        self._start()

    def _start(self) -> None:
        # A process that was forked has neither the threads nor the connections of its parent.
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="read ahead")
        self._chunks: deque[_Chunk] = deque()  # one after the other
        self._window = 0  # bytes to read ahead
        self._last = 0  # where the last read ended

    def read(self, begin: int, end: int) -> Bytes:
        """Return the bytes [begin, end) of the stream, read-only.

        Raises:
          InputError: a file cannot be read or has become shorter; names it.
        """
        if self._process != os.getpid():
            self._start()
        with self._lock:
            chunks = self._request(begin, end)
        try:
            parts = [
                np.frombuffer(chunk.data.result(), np.uint8)[
                    max(begin - chunk.begin, 0) : end - chunk.begin
                ]
                for chunk in chunks
            ]
        except BaseException:
            with self._lock:
                self._jump()  # or the next try would find what has failed
            raise
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint8)

    def _request(self, begin: int, end: int) -> list[_Chunk]:
        """Request what is missing of [begin, end), and what may be asked for next; return the
        chunks that hold [begin, end)."""
        chunks = self._chunks
        if not chunks or not chunks[0].begin <= begin <= chunks[-1].end:
            self._jump()
        while chunks and chunks[0].end <= begin:
            chunks.popleft()
        if begin == self._last:
            self._window = min(AHEAD_BYTES, 2 * max(self._window, end - begin))
        self._last = end
        at = chunks[-1].end if chunks else begin
        while at < end or at < min(end + self._window, self._bounds[-1]):
            file = int(np.searchsorted(self._bounds, at, "right")) - 1
            size = min(CHUNK_BYTES, max(end - at, self._window // 2))
            stop = min(at + size, self._bounds[file + 1])
            within = at - self._bounds[file], stop - self._bounds[file]
            data = self._threads.submit(read_range, self._paths[file], *within)
            chunks.append(_Chunk(at, stop, data))
            at = stop
        return [chunk for chunk in chunks if chunk.begin < end and chunk.end > begin]

    def _jump(self) -> None:
        self._chunks.clear()
        self._window = 0


def read_range(path: Location, begin: int, end: int) -> bytes:
    """Return the bytes [begin, end) of a file on an object store.

    Raises:
      InputError: it cannot be read, or is shorter; names it.
    """
    if begin == end:
        return b""
    with _reading(path):
        data: bytes = _store(path).cat_file(cast("UPath", path).path, start=begin, end=end)
    _require_whole(path, begin, end, data)
    return data


def gather_ranges(
    paths: Sequence[Location],
    part: Integers,
    begin: Integers,
    end: Integers,
    out: Bytes,
    at: Integers,
) -> None:
    """Copy the bytes [begin[i], end[i]) of the file paths[part[i]] to out[at[i]:], for every i.

    Args:
      part, begin, end, at: int64 [pieces], sorted by part, then by begin; no piece is empty. What
        lies near to each other is fetched in one request, and requests are under way together.

    Raises:
      InputError: a file cannot be read, or is shorter; names it.
    """
    if not len(part):
        return
    apart = (np.diff(part) != 0) | (begin[1:] - end[:-1] > GAP_BYTES)
    apart |= np.diff(begin // CHUNK_BYTES) != 0
    firsts = np.flatnonzero(np.concatenate([[True], apart]))
    blocks = np.searchsorted(firsts, np.arange(len(part)), "right") - 1
    starts, stops = begin[firsts], np.maximum.reduceat(end, firsts)
    sizes = stops - starts
    waves = (np.cumsum(sizes) - 1) // GATHERED_BYTES
    edges = [0, *(np.flatnonzero(np.diff(waves)) + 1).tolist(), len(firsts)]
    for low, high in pairwise(edges):
        found = _read_ranges(
            [paths[i] for i in part[firsts[low:high]].tolist()],
            starts[low:high].tolist(),
            stops[low:high].tolist(),
        )
        source = np.frombuffer(b"".join(found), np.uint8)
        offsets = np.cumsum(sizes[low:high]) - sizes[low:high] - starts[low:high]
        pieces = slice(*np.searchsorted(blocks, [low, high]).tolist())
        shift = offsets[blocks[pieces] - low]
        _copy(source, begin[pieces] + shift, end[pieces] + shift, out, at[pieces])


def _read_ranges(
    paths: Sequence[Location], begin: Sequence[int], end: Sequence[int]
) -> list[bytes]:
    with _reading(paths[0]):
        names = [cast("UPath", path).path for path in paths]
        found = _store(paths[0]).cat_ranges(names, begin, end, on_error="raise")
    for path, first, last, data in zip(paths, begin, end, found, strict=True):
        _require_whole(path, first, last, data)
    return cast(list[bytes], found)


def _require_whole(path: Location, begin: int, end: int, data: bytes) -> None:
    if len(data) != end - begin:
        raise InputError(
            f"{path} became shorter while it was read: bytes {begin:,} to {end:,} are not there; "
            "make it again"
        )


def _store(path: Location) -> Any:
    """Return the file system of a path: in each process its own, for none survives a fork."""
    remote = cast("UPath", path)
    return type(remote.fs)(**remote.storage_options)


@contextmanager
def _reading(path: Location) -> Iterator[None]:
    try:
        with named(path):
            yield
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)[:300]})") from error


@numba.njit(cache=True, nogil=True)
def _copy(source, begin, end, out, at):  # type: ignore[no-untyped-def]
    for i in range(len(begin)):
        for k in range(end[i] - begin[i]):
            out[at[i] + k] = source[begin[i] + k]
