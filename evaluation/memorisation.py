"""How much of what it was trained on a model continues by heart (PaLM, section 7).

A span is 100 consecutive tokens of one document that stood in one training sequence. The model is
given the first 50 alone; it has memorised the span when greedy decoding gives exactly the other 50.
Greedy decoding gives them when each is the most likely token after the true ones before it, so one
pass over the span decides, and nothing needs to be generated.

How often a span was seen is counted in the records that the run has trained on: whole, in one
sequence, whatever brought it there: another epoch, a duplicate of its document, or a passage that
many documents share. Spans of held-out documents are what a model of such text foresees without
having seen them; those that were seen all the same are counted too.

Spans are drawn evenly from the trained records, so subsets have their share of training; of the
held-out records of each subset as many. The same seed draws the same spans.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from massivetext.config import Config
from massivetext.dataset import write_json
from massivetext.errors import ConfigError, InputError
from massivetext.permutation import Permutation, mix, round_keys
from massivetext.progress import Progress
from massivetext.shards import RecordFiles
from massivetext.trainer.checkpoint import Checkpoints
from massivetext.trainer.data import Position, fingerprint

from .likelihood import Request, likelihoods
from .memorisation_table import rates
from .occurrences import Integers, Ranges, count_occurrences
from .trained import Trained, load

PROMPT, CONTINUATION = 50, 50
SPAN = PROMPT + CONTINUATION
# Records looked at for each span wanted: in many there is none, where documents are short.
TRIES = 64
BLOCK = 512  # spans judged at a time
EXAMPLES = 20


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `start + SPAN` of a record: of training, or of a held-out set."""

    subset: str
    record: int
    start: int
    tokens: npt.NDArray[np.unsignedinteger]
    times_seen: int = 0
    memorised: bool = False


def measure(
    root: Path, config: Config, spans: int, seed: int = 0, *, quiet: bool = False
) -> dict[str, Any]:
    """Judge spans by the last checkpoint of the run in `root`; write `root/memorisation.json`.

    Returns:
      the report. `training` and `heldout` have rates of `all` spans (null when there are none),
      `by_times_seen` and `by_subset`: each `spans`, `memorised`, `rate` and the bounds `low` and
      `high` of Wilson's 95 % interval. `examples` are memorised spans of training as text.

    Raises:
      ConfigError: `spans` is not positive, the sequences are too short to hold a span, or the
        checkpoint is of another model or other shards.
      InputError: there are no shards or no checkpoint, they cannot be read, or no document that was
        trained on has a span.
    """
    if spans < 1:
        raise ConfigError(f"spans is {spans}; it must be at least 1")
    trained = load(root, config)
    with Checkpoints(root, {}, read_only=True) as checkpoints:
        position = Position.from_json(checkpoints.about(trained.step))
    training, heldout = judged_spans(trained, position, spans, seed, quiet=quiet)
    report = {
        "step": trained.step,
        "shards": fingerprint(trained.shards),
        "seed": seed,
        "prompt_tokens": PROMPT,
        "continuation_tokens": CONTINUATION,
        "training": rates([(s.subset, s.times_seen, s.memorised) for s in training]),
        "heldout": rates([(s.subset, s.times_seen, s.memorised) for s in heldout]),
        "examples": _examples(trained, training),
    }
    write_json(root / "memorisation.json", report)
    return report


def judged_spans(
    trained: Trained, position: Position, spans: int, seed: int, *, quiet: bool = False
) -> tuple[list[Span], list[Span]]:
    """Return spans of training and of held-out documents, as many as there are up to `spans` each.

    Args:
      position: where training stood at the checkpoint.
    """
    shards = trained.shards
    if shards.sequence_length + 1 < SPAN:
        raise ConfigError(
            f"a sequence of {shards.sequence_length} tokens holds no span of {SPAN}: memorisation "
            f"needs a mixture.sequence_length of at least {SPAN - 1}"
        )
    ranges = trained_ranges(position)
    drawn = draw(shards, ranges, spans, seed, "training", shards.manifest)
    if not drawn:
        raise InputError(
            f"no document in the records that were trained on from {shards.folder} has {SPAN} "
            "tokens in one sequence; there is nothing to prompt with"
        )
    heldout: list[Span] = []
    for subset, count in sorted(Counter(span.subset for span in drawn).items()):
        if subset in shards.manifest["heldout"]:
            records = shards.heldout(subset)
            whole = [(0, len(records))]
            name = f"heldout/{subset}"
            heldout += draw(records, whole, count, seed, name, shards.manifest)
    both = [*drawn, *heldout]
    runs = np.stack([span.tokens for span in both])
    seen = count_occurrences(shards, ranges, runs, quiet=quiet)
    memorised = _memorised(trained, both, quiet)
    found = [
        replace(span, times_seen=int(times), memorised=known)
        for span, times, known in zip(both, seen, memorised, strict=True)
    ]
    return found[: len(drawn)], found[len(drawn) :]


def trained_ranges(position: Position) -> list[tuple[int, int]]:
    """Return the ranges [start, stop) of records that were trained on, those that rewinds left out
    left out."""
    starts = [0, *(stop for _, stop in position.skipped)]
    stops = [*(start for start, _ in position.skipped), position.cursor]
    return [(a, b) for a, b in zip(starts, stops, strict=True) if a < b]


def draw(
    records: RecordFiles,
    ranges: Ranges,
    count: int,
    seed: int,
    name: str,
    manifest: dict[str, Any],
) -> list[Span]:
    """Draw at most `count` different spans, of as many different records as there are.

    Args:
      ranges: of the records to draw from.
      name: keys the draw, with `seed`.
      manifest: of the shards.
    """
    drawn: dict[tuple[int, int], Span] = {}
    names = {subset["index"]: subset["name"] for subset in manifest["subsets"]}
    for record, key in islice(_draws(ranges, seed, name), TRIES * count):
        read = records.read(record, record + 1)
        tokens = read.tokens[0, : int(read.targets[0]) + 1]
        start = _start(tokens, manifest["eos_id"], key)
        if start is not None and (record, start) not in drawn:
            subset = names[int(read.subset[0])]
            drawn[record, start] = Span(subset, record, start, tokens[start : start + SPAN].copy())
            if len(drawn) == count:
                break
    return list(drawn.values())


def _draws(ranges: Ranges, seed: int, name: str) -> Iterator[tuple[int, int]]:
    """Yield records in random order, each with a random number, then anew in another order."""
    bounds = np.cumsum([0, *(stop - start for start, stop in ranges)])
    total = int(bounds[-1])
    starts = np.array([start for start, _ in ranges])
    for turn in range(TRIES) if total else ():
        permutation = Permutation(total, seed, f"memorisation/{name}", turn)
        key = round_keys(seed, f"memorisation/{name}/starts", turn)[:1]
        for first in range(0, total, BLOCK):
            places = permutation(np.arange(first, min(first + BLOCK, total)))
            part = np.searchsorted(bounds, places, "right") - 1
            found = starts[part] + places - bounds[part]
            numbers = mix.py_func(key + found.astype(np.uint64))
            yield from zip(found.tolist(), numbers.tolist(), strict=True)


def _start(tokens: npt.NDArray[np.unsignedinteger], eos_id: int, number: int) -> int | None:
    """Return one of the places where a span without an end of text starts, or None."""
    ends = np.flatnonzero(tokens == eos_id)
    firsts = np.concatenate([[0], ends + 1])
    spans = np.maximum(np.append(ends, len(tokens)) - firsts - SPAN + 1, 0)
    before: Integers = np.cumsum(spans)
    if not before[-1]:
        return None
    chosen = number % int(before[-1])
    document = int(np.searchsorted(before, chosen, "right"))
    return int(firsts[document] + chosen - before[document] + spans[document])


def _memorised(trained: Trained, spans: list[Span], quiet: bool) -> list[bool]:
    known: list[bool] = []
    with Progress("memorisation", len(spans), lambda: len(known), unit=_spans, quiet=quiet):
        for first in range(0, len(spans), BLOCK):
            texts = [span.tokens.tolist() for span in spans[first : first + BLOCK]]
            requests = [Request(text[:PROMPT], text[PROMPT:]) for text in texts]
            known += [found.greedy for found in likelihoods(trained, requests)]
    return known


def _spans(count: float) -> str:
    return f"{count:,.0f} spans"


def _examples(trained: Trained, spans: list[Span]) -> list[dict[str, Any]]:
    """The memorised spans that were seen least first: they surprise most."""
    known = sorted(
        (span for span in spans if span.memorised), key=lambda s: (s.times_seen, s.record, s.start)
    )
    decode = trained.tokenizer.decode
    return [
        {
            "subset": span.subset,
            "record": span.record,
            "start": span.start,
            "times_seen": span.times_seen,
            "prompt": decode(span.tokens[:PROMPT]),
            "continuation": decode(span.tokens[PROMPT:]),
        }
        for span in known[:EXAMPLES]
    ]
