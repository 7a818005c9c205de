"""Train a classifier of high-quality reference text against raw web text.

GPT-3 (Brown et al. 2020, appendix A), GLaM (Du et al. 2022, section 3) and PaLM (Chowdhery et al.
2022, section 3) choose web pages by such a classifier: a page that looks like books, Wikipedia and
other curated text is likelier kept. Theirs are linear in hashed words; ours is a fastText model of
words and word pairs, as in DCLM (Li et al. 2024, section 4.4).
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from . import __version__, classifier_report, fasttext_train
from .classifier import LABEL_PREFIX, Classifier
from .classifier_sample import Sample, Source, draw, find
from .dataset import atomic_file, write_json
from .document import text_buffers
from .errors import ConfigError, InputError, StageError
from .progress import Progress
from .readers import fingerprint

REFERENCE, RAW = "reference", "raw"

# 64 bytes a row: a vocabulary of a million words (seen five times each) and 2**18 buckets of word
# pairs make 81 MB; more dimensions than 8 separate two classes no better. The learning rate gives
# the best held-out likelihood from two thousand documents on, also where a quarter of the labels
# are wrong; twice the epochs fit the wrong labels. One thread makes training reproducible.
SETTINGS: dict[str, Any] = {
    "dim": 16,
    "epoch": 5,
    "lr": 1.0,
    "wordNgrams": 2,
    "bucket": 2**18,
    "minCount": 5,
    "thread": 1,
}

MIN_DOCUMENTS = 10
HELD_OUT = 10  # one document in so many
SCORED_AT_ONCE = 1000

_LABEL = LABEL_PREFIX.encode()
_END = b"</s>"  # ends a line of fastText's input, wherever it stands


@dataclass(frozen=True)
class Trained:
    """What `train` made.

    Attributes:
      report: the contents of MODEL.json.
      errors: by class, of one record that could not be used; absent where all could.
    """

    report: dict[str, Any]
    errors: dict[str, str]


def train(
    model: Path,
    reference: Iterable[str],
    raw: Iterable[str],
    *,
    documents: int,
    size: int,
    seed: int,
    workers: int,
    quiet: bool = False,
) -> Trained:
    """Train a classifier with the labels `reference` and `raw`, and evaluate it on held-out text.

    Writes `model`, `model`.json (inputs, counts, settings, evaluation) and `model`.svg (scores of
    the held-out documents). The same inputs, settings and seed give the same bytes of all three on
    one kind of machine, whatever the order of the paths and the number of workers.

    Args:
      reference, raw: files, globs or folders; see `classifier_sample.find`.
      documents: to draw of each class, at most; both classes get as many as the smaller one has,
        and one in `HELD_OUT` is held out.
      size: bytes of each document that are used, at most.
      workers: processes that read.

    Raises:
      ConfigError: an argument or a path is wrong, a file is in both classes, or `model` cannot be
        written.
      InputError: a class has fewer than `MIN_DOCUMENTS` documents with text.
      MassivetextError: the installed fastText does not train reproducibly.
      StageError: training failed, or the disk is full.
    """
    if documents < MIN_DOCUMENTS:
        raise ConfigError(f"documents is {documents}; it must be at least {MIN_DOCUMENTS}")
    if size < 1:
        raise ConfigError(f"bytes per document is {size}; it must be at least 1")
    fasttext_version = fasttext_train.check_installed()
    _check_writable(model)
    inputs = {REFERENCE: find(reference, REFERENCE), RAW: find(raw, RAW)}
    _check_apart(inputs)
    settings = {**SETTINGS, "seed": seed & 0x7FFFFFFF}
    classes: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="massivetext-") as folder:
            work = Path(folder)
            for label, sources in inputs.items():
                sample = _draw(sources, label, documents, size, seed, workers, quiet)
                with open(work / label, "wb") as file:
                    file.writelines(text + b"\n" for text in sample.texts())
                classes[label] = _describe(sources, sample)
                if sample.error:
                    errors[label] = sample.error
                del sample  # one class at a time is in memory
            used = min(entry["drawn"] for entry in classes.values())
            held_out = _split(work, used)
            fasttext_train.train(work / "train.txt", work / "model.bin", settings, quiet)
            scorer = Classifier(work / "model.bin")
            scores = [_score(scorer, held_out[label]) for label in (REFERENCE, RAW)]
            report = {
                "classes": classes,
                "evaluation": classifier_report.evaluate(*scores),
                "training": {
                    "documents_per_class": used - len(held_out[REFERENCE]),
                    "bytes_per_document": size,
                    "documents": documents,
                    "seed": seed,
                    "settings": settings,
                },
                "versions": {
                    "massivetext": __version__,
                    fasttext_train.DISTRIBUTION: fasttext_version,
                },
            }
            _publish(model, work / "model.bin", report, classifier_report.histogram_svg(*scores))
    except OSError as error:
        raise StageError(
            f"cannot write {error.filename or tempfile.gettempdir()}: {error.strerror}; "
            "temporary files go to the folder that the variable TMPDIR names"
        ) from error
    return Trained(report, errors)


def _check_writable(model: Path) -> None:
    """Raise ConfigError unless `model` can be written: now, not after an hour of reading."""
    if model.is_dir():
        raise ConfigError(f"{model} is a folder; name the file of the model, such as quality.bin")
    try:
        model.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"folder {model.parent} cannot be made: {error.strerror}") from error
    if not os.access(model.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"folder {model.parent} cannot be written; check its permissions")


def _check_apart(inputs: dict[str, list[Source]]) -> None:
    paths = [
        {os.path.realpath(source.split.paths[0]) for source in sources}
        for sources in inputs.values()
    ]
    both = sorted(paths[0] & paths[1])
    if both:
        raise ConfigError(f"{both[0]} is given as reference and as raw; it can be only one")


def _draw(
    sources: list[Source],
    label: str,
    documents: int,
    size: int,
    seed: int,
    workers: int,
    quiet: bool,
) -> Sample:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count

    total = sum(source.split.bytes for source in sources)
    with Progress(f"read {label}", total, lambda: done, quiet=quiet):
        sample = draw(
            sources,
            label,
            documents=documents,
            size=size,
            seed=seed,
            workers=workers,
            on_bytes=advance,
        )
    if len(sample) < MIN_DOCUMENTS:
        found = f"{label} has {len(sample)} documents with text"
        unusable = sample.rejected + sample.not_extracted
        reason = f"; {unusable:,} records are unusable, such as {sample.error}" if unusable else ""
        raise InputError(f"{found}; at least {MIN_DOCUMENTS} are needed{reason}")
    return sample


def _describe(sources: list[Source], sample: Sample) -> dict[str, Any]:
    files: dict[str, list[Source]] = {}
    for source in sources:
        files.setdefault(source.split.names[0], []).append(source)
    return {
        "inputs": [
            {
                "name": name,
                "bytes": os.path.getsize(pieces[0].split.paths[0]),
                "fingerprint": fingerprint([piece.split for piece in pieces]),
            }
            for name, pieces in sorted(files.items())
        ],
        "records": sample.records,
        "rejected": sample.rejected,
        "without_text": sample.without_text,
        "not_extracted": sample.not_extracted,
        "drawn": len(sample),
    }


def _split(work: Path, used: int) -> dict[str, list[bytes]]:
    """Write `train.txt` from the first `used` documents of both classes, in turn.

    The documents are in the order of a hash, so every tenth is a random tenth.

    Returns:
      The held-out documents of each class.
    """
    held_out: dict[str, list[bytes]] = {REFERENCE: [], RAW: []}
    with (
        open(work / REFERENCE, "rb") as reference,
        open(work / RAW, "rb") as raw,
        open(work / "train.txt", "wb") as out,
    ):
        for index, pair in enumerate(islice(zip(reference, raw, strict=False), used)):
            for label, line in zip((REFERENCE, RAW), pair, strict=True):
                if index % HELD_OUT == 0:
                    held_out[label].append(line.rstrip(b"\n"))
                else:
                    out.write(training_line(label, line.rstrip(b"\n")))
    return held_out


def training_line(label: str, text: bytes) -> bytes:
    """Return a line of fastText's input: the label, and `text`, which has blanks for white space.

    Words that look like labels are left out and `</s>` ends the text, as when it is scored: a
    document must not label itself.
    """
    if _LABEL in text or _END in text:
        words = takewhile(lambda word: word != _END, text.split(b" "))
        text = b" ".join(word for word in words if not word.startswith(_LABEL))
    return _LABEL + label.encode() + b" " + text + b"\n"


def _score(scorer: Classifier, texts: list[bytes]) -> np.ndarray:
    """Return the probability of `reference` of each text, float32 in [0, 1]."""
    label = LABEL_PREFIX + REFERENCE
    parts = [scorer.probability(*text_buffers(batch), label) for batch in _batches(texts)]
    # fastText's softmax reaches 1.00001.
    return np.minimum(np.concatenate(parts), np.float32(1))


def _batches(texts: list[bytes]) -> Iterator[pa.Array]:
    for start in range(0, len(texts), SCORED_AT_ONCE):
        yield pa.array(texts[start : start + SCORED_AT_ONCE], pa.large_binary())


def _publish(model: Path, trained: Path, report: dict[str, Any], svg: str) -> None:
    """Put the model in place, then what describes it: the description is never of another model."""
    description = model.with_name(model.name + ".json")
    description.unlink(missing_ok=True)
    with atomic_file(model) as out, open(trained, "rb") as content:
        shutil.copyfileobj(content, out, 1 << 20)
    with atomic_file(model.with_name(model.name + ".svg")) as picture:
        picture.write(svg.encode())
    report["model"] = {"bytes": out.bytes, "sha256": out.digest.hexdigest()}
    write_json(description, report)
