"""Tasks from JSON Lines: completions as in LAMBADA, and multiple choice, with 0 to 5 examples.

A line is an item, and a file holds one kind of items.

    {"text": "... the last word"}                       completion: the last word after the rest
    {"context": "...", "target": " word"}               completion, joined as it stands
    {"question": "...", "choices": [...], "answer": 2}  choice, after "Question: ...\\nAnswer:"
    {"context": "...", "choices": [...], "answer": 2}   choice, after the context as it stands

`answer` counts from 0. A choice follows a space, unless there is white space at the joint already.
Choices are judged by their log-likelihood after the context, raw and divided by their bytes (GPT-3,
section 2.4, divides by tokens, which does not compare across vocabularies). Examples are other
items of the file with their answers, a blank line after each.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from massivetext.errors import ConfigError, InputError
from massivetext.readers.jsonl import explain, lines
from massivetext.readers.stream import DamagedError, Stream

from .likelihood import Likelihood, Request, encode_pair, likelihoods
from .trained import Trained

MAX_SHOTS = 5
BLOCK = 512  # items whose tokens exist at a time
FORMS = "text; context and target; question or context, choices and answer"


@dataclass(frozen=True)
class Item:
    """A context and the texts that could follow it: one for a completion, more for a choice.

    Attributes:
      sizes: bytes of each continuation in UTF-8, without the space that joins it.
      answer: index of the right one.
      where: file and line.
    """

    context: str
    continuations: tuple[str, ...]
    sizes: tuple[int, ...]
    answer: int
    where: str


@dataclass(frozen=True)
class Completions:
    """How well the targets of a file were foreseen.

    `accuracy` is the share whose every token is the most likely one; `log_probability` the mean,
    over targets, of the whole target's, in nats; `perplexity` exp of minus that. `truncated`
    contexts did not fit the model's and lost their beginning.
    """

    items: int
    accuracy: float
    log_probability: float
    perplexity: float
    truncated: int


@dataclass(frozen=True)
class MultipleChoice:
    """The share of items whose answer is the most likely choice, the first one where two are equal.

    `accuracy_per_byte` divides log-likelihoods by the choices' bytes; `chance` is what guessing
    gets. `truncated` items had a context that did not fit the model's and lost its beginning.
    """

    items: int
    accuracy: float
    accuracy_per_byte: float
    chance: float
    truncated: int


def evaluate_task(
    trained: Trained, path: Path, shots: int = 0, seed: int = 0
) -> Completions | MultipleChoice:
    """Return how the model does on the items of a JSONL file, plain or compressed.

    The items are held in memory, their tokens `BLOCK` items at a time.

    Args:
      shots: examples before each item, drawn from the other items by `seed`.

    Raises:
      ConfigError: `shots` is not between 0 and 5, or the file has too few items for them.
      InputError: the file cannot be read; a line is not as above, or its target is longer than the
        model's context: says which.
    """
    if not 0 <= shots <= MAX_SHOTS:
        raise ConfigError(f"shots is {shots}; it must be between 0 and {MAX_SHOTS}")
    items = read_items(path)
    if shots and len(items) <= shots:
        raise ConfigError(f"{path} has {len(items)} items; {shots} shots need {shots + 1}")
    judged: list[list[Likelihood]] = []
    for start in range(0, len(items), BLOCK):
        block = range(start, min(start + BLOCK, len(items)))
        requests = [_requests(trained, items[i], prompt(items, i, shots, seed)) for i in block]
        found = iter(likelihoods(trained, list(itertools.chain.from_iterable(requests))))
        judged += [list(itertools.islice(found, len(each))) for each in requests]
    truncated = sum(any(x.truncated for x in each) for each in judged)
    if len(items[0].continuations) == 1:
        return _completions([each[0] for each in judged], truncated)
    return _multiple_choice(items, judged, truncated)


def _requests(trained: Trained, item: Item, context: str) -> list[Request]:
    requests = [encode_pair(trained, context, text) for text in item.continuations]
    for _, target in requests:
        if not 0 < len(target) <= trained.context:
            raise InputError(
                f"{item.where}: a target of {len(target):,} tokens; it must have between 1 and the "
                f"{trained.context:,} of the model's context"
            )
    return requests


def _completions(judged: list[Likelihood], truncated: int) -> Completions:
    nats = float(np.mean([each.nats for each in judged]))
    return Completions(
        items=len(judged),
        accuracy=float(np.mean([each.greedy for each in judged])),
        log_probability=-nats,
        perplexity=float(np.exp(nats)),
        truncated=truncated,
    )


def _multiple_choice(
    items: list[Item], judged: list[list[Likelihood]], truncated: int
) -> MultipleChoice:
    raw = per_byte = 0
    for item, each in zip(items, judged, strict=True):
        nats = np.array([choice.nats for choice in each])
        raw += int(np.argmin(nats)) == item.answer
        per_byte += int(np.argmin(nats / item.sizes)) == item.answer
    return MultipleChoice(
        items=len(items),
        accuracy=raw / len(items),
        accuracy_per_byte=per_byte / len(items),
        chance=math.fsum(1 / len(item.continuations) for item in items) / len(items),
        truncated=truncated,
    )


def prompt(items: list[Item], number: int, shots: int, seed: int) -> str:
    """Return the context of item `number` after `shots` solved items."""
    examples = (items[other] for other in draw(len(items), number, shots, seed))
    solved = [x.context + x.continuations[x.answer] + "\n\n" for x in examples]
    return "".join(solved) + items[number].context


def draw(items: int, number: int, shots: int, seed: int) -> list[int]:
    """Return `shots` different indexes of `items` other than `number`, which must be so many."""
    chosen: list[int] = []
    attempts = itertools.count()
    while len(chosen) < shots:
        digest = hashlib.sha256(f"{seed}/shots/{number}/{next(attempts)}".encode()).digest()
        other = int.from_bytes(digest[:8], "little") % items
        if other != number and other not in chosen:
            chosen.append(other)
    return chosen


def read_items(path: Path) -> list[Item]:
    """Return the items of a JSONL file; empty lines are none.

    Raises:
      InputError: as `evaluate_task`.
    """
    items = list(_read(path))
    if not items:
        raise InputError(f"{path} has no items")
    kinds = [len(item.continuations) > 1 for item in items]
    if len(set(kinds)) > 1:
        where = items[kinds.index(not kinds[0])].where
        raise InputError(
            f"{where}: an item with{'out' * kinds[0]} choices, unlike those before it; use one "
            "file for each kind"
        )
    return items


def _read(path: Path) -> Iterator[Item]:
    try:
        for number, line in enumerate(lines(Stream(str(path), lambda _: None).chunks()), start=1):
            where = f"{path}:{number}"
            if line is None:
                raise InputError(f"{where}: the line is too long for an item")
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise InputError(f"{where}: {explain(error)}") from error
            yield _item(record, where)
    except DamagedError as error:
        raise InputError(f"{path}: {error}") from error


def _item(record: Any, where: str) -> Item:
    keys = record.keys() if isinstance(record, dict) else set()
    if "choices" in keys and "answer" in keys and len({"question", "context"} & keys) == 1:
        return _choice(record, where)
    if {"context", "target"} <= keys:
        context = _string(record["context"], "context", where)
        target = _string(record["target"], "target", where)
    elif "text" in keys:
        last = re.fullmatch(r"(.*\S)(\s+\S+)\s*", _string(record["text"], "text", where), re.DOTALL)
        if last is None:
            raise InputError(f"{where}: text must have two words or more")
        context, target = last.groups()
    else:
        raise InputError(f"{where}: not an item; it needs {FORMS}")
    return Item(context, (target,), (len(target.encode()),), 0, where)


def _choice(record: dict[str, Any], where: str) -> Item:
    if "question" in record:
        context = f"Question: {_string(record['question'], 'question', where)}\nAnswer:"
    else:
        context = _string(record["context"], "context", where)
    choices, answer = record["choices"], record["answer"]
    if not isinstance(choices, list) or len(choices) < 2:
        raise InputError(f"{where}: choices must be a list of two or more")
    choices = [_string(choice, "a choice", where) for choice in choices]
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise InputError(
            f"{where}: answer is {answer!r}; it must be the number of a choice, 0 to "
            f"{len(choices) - 1}"
        )
    continuations = [
        text if context[-1].isspace() or text[0].isspace() else f" {text}" for text in choices
    ]
    sizes = tuple(len(choice.encode()) for choice in choices)
    return Item(context, tuple(continuations), sizes, answer, where)


def _string(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {name} must be a text, and not empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: {name}: {explain(error)}") from error
    return value
