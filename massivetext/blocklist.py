"""Reads block lists: files of hosts, of which the largest have millions, and files of words."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import ConfigError
from .storage import location, open_binary
from .unicode import CODE_POINTS, PUNCTUATION, REPLACEMENT, SPACE, classes

# The longest name that can be looked up (RFC 1035, section 2.3.4).
MAX_HOST = 253

_BLOCK_BYTES = 16 << 20
_COMMENT = re.compile(r"(?:^|\s)#.*")
# Most lines of any list are such names; only the others are looked at one by one.
_PLAIN = r"^(?:[a-z0-9_-]+\.)*[a-z0-9_-]*[a-z_-][a-z0-9_-]*$"
_NAME = re.compile(_PLAIN)


def read_hosts(paths: Sequence[str | Path]) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Read lists of hosts (see `urls.BlockList.read`), in blocks of bounded size.

    Yields:
      `(keys, spelled)`, large_string [n] each: names as an address may have them in lower case
      (two for a name with letters beyond ASCII), and the entry of the list.
    """
    for path in paths:
        entries = 0
        for first, lines in _blocks(path):
            short = pc.less_equal(pc.binary_length(lines), MAX_HOST)
            plain = pc.and_(pc.match_substring_regex(lines, _PLAIN), short)
            plain = pc.and_(plain, pc.invert(pc.match_substring(lines, "xn--")))
            names = lines.filter(plain)
            yield names, names
            rest = pc.indices_nonzero(pc.invert(plain))
            others = list(_entries(path, rest.to_numpy() + first, lines.take(rest)))
            yield (
                pa.array([key for key, _ in others], pa.large_string()),
                pa.array([spelled for _, spelled in others], pa.large_string()),
            )
            entries += len(names) + len(others)
        if entries == 0:
            raise ConfigError(f"{path}: the list has no entry; correct the path or take it out")


def read_words(paths: Sequence[str | Path]) -> pa.Array:
    """Read lists of words (see `urls.BlockList.read`): large_string [n], as the lists spell them.

    Raises:
      ConfigError: also where a word has characters at which addresses are cut.
    """
    _, letters = letter_tables()
    found: list[str] = []
    for path in paths:
        before = len(found)
        for first, lines in _blocks(path):
            for number, line in enumerate(lines.to_pylist(), start=first):
                word = _COMMENT.sub("", line).strip()
                if not all(letters[ord(character)] for character in word):
                    raise ConfigError(
                        f"{path}:{number}: {word[:80]!r} is more than one word; words of an "
                        "address have letters and digits only: give each a line of its own"
                    )
                if word:
                    found.append(word)
        if len(found) == before:
            raise ConfigError(f"{path}: the list has no entry; correct the path or take it out")
    return pa.array(found, pa.large_string())


@lru_cache(maxsize=1)
def letter_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return, by code point, its lower case, and the same with 0 where addresses are cut into
    words; int32 of shape (0x110000,), read-only."""
    points = np.arange(CODE_POINTS, dtype="<u4")
    points[0xD800:0xE000] = REPLACEMENT  # surrogates are no characters
    text = pc.utf8_lower(pa.scalar(points.tobytes().decode("utf-32-le"))).as_py()
    lower = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int32)
    # Beyond ASCII, marks count as letters: scripts of India write vowels with them.
    cut = classes() & (SPACE | PUNCTUATION) != 0
    cut[:128] = [not chr(point).isalnum() for point in range(128)]
    letters = np.where(cut, 0, lower).astype(np.int32)
    lower.flags.writeable = letters.flags.writeable = False
    return lower, letters


def _blocks(path: str | Path) -> Iterator[tuple[int, pa.Array]]:
    """Yield the lines of a file, stripped, in blocks, each with the number of its first line."""
    number = 1
    rest = b""
    try:
        with open_binary(location(path)) as file:
            rest = file.read(3).removeprefix(b"\xef\xbb\xbf")
            while block := file.read(_BLOCK_BYTES):
                whole, line_feed, rest = (rest + block).rpartition(b"\n")
                if not line_feed:
                    if len(rest) < _BLOCK_BYTES:
                        continue
                    raise ConfigError(
                        f"{path}:{number}: the line has over {len(rest):,} bytes; a block list has "
                        "one entry a line"
                    )
                lines = _lines(path, number, whole + line_feed)
                yield number, lines
                number += len(lines)
    except OSError as error:
        raise ConfigError(f"block list {path} cannot be read: {error.strerror}") from error
    if rest:
        yield number, _lines(path, number, rest + b"\n")


def _lines(path: str | Path, first: int, data: bytes) -> pa.Array:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    lines = pa.Array.from_buffers(pa.large_string(), len(ends), buffers)
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid as error:
        for number, line in enumerate(data.split(b"\n"), start=first):
            try:
                line.decode()
            except UnicodeDecodeError:
                raise ConfigError(
                    f"{path}:{number}: not UTF-8; a block list is a plain text file (unpack or "
                    "convert it)"
                ) from error
        raise
    return pc.utf8_trim_whitespace(lines)


def _entries(path: str | Path, numbers: np.ndarray, lines: pa.Array) -> Iterator[tuple[str, str]]:
    """Yield `(key, entry as spelled)` for lines that are no plain names."""
    for number, line in zip(numbers.tolist(), lines.to_pylist(), strict=True):
        fields = _COMMENT.sub("", line).split()
        if len(fields) > 1 and _address(fields[0]):
            fields = fields[1:]
        elif len(fields) > 1:
            raise ConfigError(
                f"{path}:{number}: {line[:80]!r} is more than one entry; use a line each"
            )
        for field in fields:
            try:
                for key in _keys(field):
                    yield key, field
            except ValueError as error:
                raise ConfigError(
                    f"{path}:{number}: {field[:80]!r} {error}; an entry is a host, such as "
                    "example.com"
                ) from error


def _address(text: str) -> str:
    """Return an IP address as addresses of pages have it, or an empty string."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    return str(address) if address.version == 4 else f"[{address}]"


def _keys(field: str) -> Iterable[str]:
    """Return the spellings in which a listed host may stand in an address.

    Raises:
      ValueError: it is no host; the message says why.
    """
    _, scheme, name = field.rpartition("://")
    if scheme or name.endswith("/"):
        name = name.removesuffix("/")
    name = name.removeprefix("*").removeprefix(".").rstrip(".").lower()
    if address := _address(name):
        return [address]
    if "/" in name or "?" in name:
        raise ValueError("names a page, not a host")
    if ":" in name:
        raise ValueError("has a port")
    try:
        encoded = name.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError("is no host name") from error
    if len(encoded) > MAX_HOST or not _NAME.fullmatch(encoded):
        raise ValueError("is no host name")
    keys = {name: None, encoded: None}
    if "xn--" in encoded:
        # Not every listed name is well-formed; as it is spelled it is found all the same.
        with suppress(UnicodeError):
            keys[encoded.encode().decode("idna")] = None
    return keys
