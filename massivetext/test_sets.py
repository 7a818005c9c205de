"""Reads test sets and lists of titles. A test set that cannot be read must never pass as empty."""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import store_glob
from .errors import ConfigError, InputError
from .readers.jsonl import lines
from .readers.stream import DamagedError, Stream
from .storage import is_remote
from .store_errors import reason

_JSON = (".jsonl", ".json", ".ndjson")
_COMPRESSED = (".gz", ".bz2", ".zst")
_HEADING = re.compile(r" ?= ([^=].*?[^=]) = ?")


class Item(NamedTuple):
    """One test document: the file it is from, its id there, its text."""

    test_set: str
    id: str
    text: str


def expand(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths and globs name, sorted, each once however it is spelt.

    Raises:
      ConfigError: one of them names no file.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        matches = _matches(pattern)
        if not matches:
            raise ConfigError(f"{pattern!r} matches no file; correct the path or take it out")
        for path in matches:
            found.setdefault(path if is_remote(path) else os.path.abspath(path), path)
    return sorted(found.values())


def _matches(pattern: str) -> list[str]:
    if is_remote(pattern):
        try:
            return [match.path for match in store_glob.find(pattern) if not match.inside]
        except OSError as error:
            raise ConfigError(f"{pattern!r} cannot be listed: {reason(error)}") from error
    matches = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]
    return matches or ([pattern] if Path(pattern).is_file() else [])


def _is_json(path: str) -> bool:
    suffixes = [s.lower() for s in Path(path).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _JSON


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        for number, line in enumerate(lines(Stream(path, lambda _: None).chunks()), start=1):
            if line is None:
                raise InputError(f"{path}:{number}: the line is too long to be a test document")
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except DamagedError as error:
        raise InputError(f"{path}: {error}; fetch the file again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}); convert it") from error


def _records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path}:{number}: invalid JSON ({error}); repair the line") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: {type(record).__name__}, expected a JSON object")
        yield number, record


def named_files(patterns: Sequence[str]) -> dict[str, str]:
    """Return the files of `expand` by the names of their test sets, in the same order.

    A test set is named as its file; files of one name, by as many folders above them as tell them
    apart.
    """
    paths = expand(patterns)
    names = {path: Path(path).name for path in paths}
    depth = 1
    while len(set(names.values())) < len(names):
        depth += 1
        counts = Counter(names.values())
        for path, name in names.items():
            if counts[name] > 1:
                names[path] = "/".join(Path(os.path.abspath(path)).parts[-depth:])
    return {name: path for path, name in names.items()}


def read_items(patterns: Sequence[str], text_field: str) -> Iterator[Item]:
    """Yield every test document of JSONL files, plain or compressed, in order of path and line.

    An item's id is its field `id`, or its line number where it has none.

    Raises:
      ConfigError: a pattern names no file, or a file is not JSONL.
      InputError: a line is not a JSON object with a string `text_field`, or a file has no line.
    """
    for name, path in named_files(patterns).items():
        yield from _items(name, path, text_field)


def find_item(patterns: Sequence[str], text_field: str, name: str, key: str) -> Item | None:
    """Return the first item with id `key` of the test set `name`, or None; raises as `read_items`,
    but reads that test set alone."""
    path = named_files(patterns).get(name)
    if path is None:
        return None
    return next((item for item in _items(name, path, text_field) if item.id == key), None)


def _items(name: str, path: str, text_field: str) -> Iterator[Item]:
    if not _is_json(path):
        raise ConfigError(f"test set {path} is not JSONL; give .jsonl, plain or compressed")
    count = 0
    for number, record in _records(path):
        text = record.get(text_field)
        if not isinstance(text, str):
            has = ", ".join(sorted(record)[:20]) or "nothing"
            raise InputError(
                f"test set {path}:{number}: no string field {text_field!r}; the record has "
                f"{has}; set overlap.text_field to the field that holds the text"
            )
        key = str(number) if record.get("id") is None else str(record["id"])
        for part, value in (("text", text), ("id", key)):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"test set {path}:{number}: a lone surrogate in {part}; repair the line"
                ) from error
        count += 1
        yield Item(name, key, text)
    if count == 0:
        raise InputError(f"test set {path} is empty; an empty test set would let all pass")


def plain_title(title: str) -> str:
    """Return `title` with white space normalised: the form in which titles are compared."""
    return " ".join(title.split())


def wikitext_title(heading: str) -> str:
    """Undo Wikitext's tokenisation of a title: `M @-@ 82 ( Michigan highway )` is
    `M-82 (Michigan highway)`. Words that Wikitext replaced by `<unk>` are lost for good."""
    title = re.sub(r" ?@([-,.])@ ?", r"\1", plain_title(heading))
    title = re.sub(r" ([,.:;!?)\]]|'s\b|n't\b)", r"\1", title)
    title = re.sub(r"([(\[]) ", r"\1", title)
    return re.sub(r"(\d) – (\d)", r"\1–\2", title)


def read_titles(patterns: Sequence[str]) -> frozenset[str]:
    """Return the titles in files of a title a line, or JSONL with `title`, or with a Wikitext
    page as `text`, which starts with ` = Title = `. Titles with `<unk>` can match nothing.

    Raises:
      ConfigError: a pattern names no file.
      InputError: a record has no title, or a file none at all.
    """
    found: set[str] = set()
    for path in expand(patterns):
        titles = set(_json_titles(path) if _is_json(path) else _text_titles(path))
        if not titles - {""}:
            raise InputError(f"{path} has no titles; give a title a line, or JSONL with 'title'")
        found |= titles - {""}
    return frozenset(title for title in found if "<unk>" not in title)


def _text_titles(path: str) -> Iterator[str]:
    for _, line in _lines(path):
        yield plain_title(line)


def _json_titles(path: str) -> Iterator[str]:
    for number, record in _records(path):
        if isinstance(record.get("title"), str):
            yield plain_title(record["title"])
            continue
        text = record.get("text")
        first = text.strip().split("\n", 1)[0] if isinstance(text, str) else ""
        heading = _HEADING.fullmatch(first.strip())
        if heading is None:
            raise InputError(
                f"{path}:{number}: no string field 'title', and 'text' does not start with "
                "' = Title = '"
            )
        yield wikitext_title(heading[1])
