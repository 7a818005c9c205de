"""Items of test sets as lines: their text, and the lines themselves, written apart by class.

A line is a JSON object, and its text is the first of these that it has:

    the field `overlap.text_field`                          as the overlap stage reads it
    {"context": "...", "target": " word"}                   the two, joined as they stand
    {"context": "...", "choices": [...], "answer": 2}       the context and the right choice
    {"question": "...", "choices": [...], "answer": 2}      the question, and apart the right choice

The last three are the forms that `massivetext evaluate --task` takes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from .dataset import atomic_file, sha256_file
from .errors import InputError
from .readers.jsonl import explain, lines
from .readers.stream import DamagedError, Stream

_BOM = b"\xef\xbb\xbf"
_COMPRESSED = (".gz", ".bz2", ".zst")
_JSON = (".jsonl", ".json", ".ndjson")


class Line(NamedTuple):
    """One item: the number of its line, from 1, and its texts, which no n-gram crosses."""

    number: int
    passages: tuple[str, ...]


def read_passages(path: str, text_field: str) -> Iterator[Line]:
    """Yield the items of a JSONL file, plain or compressed; empty lines are none.

    Raises:
      InputError: the file cannot be read or has no item, or a line is none: says which.
    """
    count = 0
    for number, line in item_lines(path):
        where = f"test set {path}:{number}"
        try:
            record = json.loads(line.decode())
            texts = _passages(record, text_field, where)
            for text in texts:
                text.encode()
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: {explain(error)}; repair the line") from error
        count += 1
        yield Line(number, texts)
    if not count:
        raise InputError(f"test set {path} has no items")


def item_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not empty, without its end and a byte order mark, and its number."""
    try:
        for number, line in enumerate(lines(Stream(path, lambda _: None).chunks()), start=1):
            if line is None:
                raise InputError(f"test set {path}:{number}: the line is too long for an item")
            line = line.removeprefix(_BOM) if number == 1 else line
            if line.strip():
                yield number, line
    except DamagedError as error:
        raise InputError(f"test set {path}: {error}; fetch the file again") from error


def _passages(record: Any, text_field: str, where: str) -> tuple[str, ...]:
    if not isinstance(record, dict):
        raise InputError(f"{where}: {type(record).__name__}, expected a JSON object")
    text = record.get(text_field)
    if isinstance(text, str):
        return (text,)
    context, target = record.get("context"), record.get("target")
    if isinstance(context, str) and isinstance(target, str):
        return (context + target,)
    opening = record.get("question", context)
    if isinstance(opening, str) and "choices" in record:
        choice = _right_choice(record, where)
        if "question" in record:
            return (opening, choice)
        return (f"{opening} {choice}",)
    has = ", ".join(sorted(record)[:20]) or "nothing"
    raise InputError(
        f"{where}: not an item; the record has {has}. It needs {text_field!r} (overlap.text_field "
        "in the config), context and target, or question or context, choices and answer"
    )


def _right_choice(record: dict[str, Any], where: str) -> str:
    choices, answer = record["choices"], record.get("answer")
    if isinstance(choices, list) and type(answer) is int and 0 <= answer < len(choices):
        choice = choices[answer]
        if isinstance(choice, str):
            return choice
    raise InputError(f"{where}: answer must be the number of one of its choices, from 0 on")


def stems(names: list[str]) -> dict[str, str]:
    """Return the file name, without endings, under which the lines of each test set are written.

    A name that comes with folders keeps them. Where two would be the same, both stay whole.
    """
    short = {name: _stem(name) for name in names}
    return {
        name: stem if list(short.values()).count(stem) == 1 else name.lstrip("/")
        for name, stem in short.items()
    }


def _stem(name: str) -> str:
    path = PurePosixPath(name.lstrip("/"))
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return str(path.with_suffix("") if path.suffix.lower() in _JSON else path)


def write_lines(path: str, sha256: str, kinds: Sequence[str], targets: Mapping[str, Path]) -> None:
    """Write each item of a test set, as it is, to the file of its kind.

    Args:
      sha256: of the file when it was judged.
      kinds: of every item, in their order.
      targets: path of the file of each kind; all are written, even empty.

    Raises:
      InputError: the file is not as it was; nothing is written then.
    """
    with ExitStack() as stack:
        files = {kind: stack.enter_context(atomic_file(file)) for kind, file in targets.items()}
        # A file that has changed may have more items or fewer; its hash tells.
        for kind, (_, line) in zip(kinds, item_lines(path), strict=False):
            files[kind].write(line + b"\n")
        if sha256_file(Path(path)) != sha256:
            raise InputError(f"test set {path} was changed while it was read; run again")
