"""Stage `shards`: the weighted mixture of the token stores, in training order, as TFRecord shards.

One part is one shard. What stands in it follows from the plan, the seed and the counts per subset
at its first record, so any number of workers write shards in any order, to the same bytes.
Output: `shards/train-*.tfrecord`, `shards/heldout/<subset>.tfrecord` and `shards/manifest.json`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.construction import Sequences, open_sequences, stocks
from massivetext.dataset import FileRecord, sha256_file, write_json
from massivetext.errors import StageError
from massivetext.lineage import tokens_identity
from massivetext.mixture import plan, resolve_stages, resolve_weights
from massivetext.mixture_plan import MixturePlan
from massivetext.order import make_order
from massivetext.progress import Progress
from massivetext.shards import FORMAT, VERSION
from massivetext.storage import size
from massivetext.tfrecord import Layout, layout
from massivetext.tokens import TokenStore

from .context import Context
from .part import Part, PartOutput, PartResult
from .stage import materialise, run_parts

# Tokens gathered at once, whatever the size of a shard: the more, the fewer blocks of documents are
# put in order for a few sequences each (`construction.Drawn`).
GATHERED_BYTES = 64 << 20
# Records framed at once, in the caches.
BATCH_RECORDS = 512

# What the shards carry of the tokenizer, so that no other can be mistaken for it.
TOKENIZER_KEYS = ("dtype", "vocab_size", "eos_id", "pad_id", "tokenizer_sha256")

Batches = Iterator[npt.NDArray[np.void]]


class WriteShard:
    """Gathers the sequences of one shard, or of one held-out set, from the token stores."""

    def __init__(self, planned: MixturePlan, seed: int, tokens: dict[str, Any]):
        self.planned, self.seed, self.tokens = planned, seed, tokens

    def setup(self) -> None:
        self.order = make_order(self.planned, self.seed)
        self.sources: dict[str, Sequences] = {}
        self.record = record_layout(self.planned, self.tokens)

    def run(self, part: Part, out: PartOutput) -> None:
        with out.file(f"shards/{part.name}.tfrecord") as file:
            gather = self._heldout if "heldout" in part.arguments else self._train
            for records in gather(part, out):
                file.write(records.view(np.uint8).data)
                out.counts["records"] += len(records)
                out.progress(file.bytes)

    def _train(self, part: Part, out: PartOutput) -> Batches:
        counts = np.array(part.arguments["counts"], np.int64)
        for start, stop in self._gatherings(part.arguments["start"], part.arguments["stop"]):
            at = self.order.positions(start, stop, counts)
            tokens = np.empty((stop - start, self.record.width), self.record.tokens)
            for subset in np.unique(at.subset).tolist():
                rows = np.flatnonzero(at.subset == subset)
                source = self._source(out, self.order.names[subset])
                tokens[rows] = source.tokens(at.sequence[rows], at.epoch[rows])
            yield from self._encoded(tokens, *at)
            counts += np.bincount(at.subset, minlength=len(counts))

    def _heldout(self, part: Part, out: PartOutput) -> Batches:
        name, index = part.arguments["heldout"], part.arguments["index"]
        store = TokenStore.open(out.root, f"heldout/{name}", self.tokens)
        for start, stop in self._gatherings(0, part.arguments["stop"]):
            sequence = np.arange(start, stop)
            tokens = store.sequence(sequence, self.planned.sequence_length)
            subset = np.full(stop - start, index)
            yield from self._encoded(tokens, subset, sequence, np.zeros_like(sequence))

    def _gatherings(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        size = max(1, GATHERED_BYTES // (self.record.width * self.record.tokens.itemsize))
        for first in range(start, stop, size):
            yield first, min(first + size, stop)

    def _encoded(self, tokens: npt.NDArray[Any], *columns: npt.NDArray[Any]) -> Batches:
        for first in range(0, len(tokens), BATCH_RECORDS):
            some = slice(first, first + BATCH_RECORDS)
            yield self.record.encode(tokens[some], *(column[some] for column in columns))

    def _source(self, out: PartOutput, name: str) -> Sequences:
        if name not in self.sources:
            store = TokenStore.open(out.root, name, self.tokens)
            self.sources[name] = open_sequences(
                self.planned.construction, store, self.planned.sequence_length, self.seed, name
            )
        return self.sources[name]


def record_layout(planned: MixturePlan, tokens: dict[str, Any]) -> Layout:
    return layout(planned.sequence_length + 1, tokens["dtype"])


def run(context: Context, config: Config, tokens: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of `shards`: that of the reader (`shards/manifest.json`) and `files`.

    Args:
      tokens: the manifest of the stage `tokens`.

    Raises:
      ConfigError: weights, budget and tokens do not fit together (`mixture.plan`).
      StageError: a shard could not be written; what is whole is kept.
    """
    weights = resolve_weights(config.mixture, config.subsets)
    stages = resolve_stages(config.mixture, config.subsets)
    available = stocks(context.root, tokens, config.mixture, config.seed)
    planned = plan(config.mixture, stages, available)
    depends = {
        "tokens": tokens_identity(tokens),
        "mixture": to_dict(config.mixture),
        "weights": weights,
        "seed": config.seed,
        "version": VERSION,
    }
    if config.mixture.stages:
        depends["stages"] = stages

    def produce(key: str) -> dict[str, Any]:
        if not context.quiet:
            for line in planned.table().splitlines():
                Progress.line("mixture", line)
        parts = _parts(config, planned, tokens)
        results = run_parts(context, "shards", key, parts, WriteShard(planned, config.seed, tokens))
        manifest = _manifest(config, planned, tokens, parts, results)
        path = context.root / "shards" / "manifest.json"
        write_json(path, manifest)
        files = [file for result in results for file in result.files]
        files.append(FileRecord("shards/manifest.json", size(path), sha256_file(path), 1))
        summary = ("subsets", "heldout", "sequences", "sequence_length")
        return {"files": files, **{name: manifest[name] for name in summary}}

    return materialise(context, "shards", depends, ("shards",), produce)


def _parts(config: Config, planned: MixturePlan, tokens: dict[str, Any]) -> list[Part]:
    record_bytes = record_layout(planned, tokens).record_bytes
    order = make_order(planned, config.seed)
    size = config.mixture.shard_sequences
    shards = -(-len(order) // size)
    parts = []
    for shard in range(shards):
        start, stop = shard * size, min((shard + 1) * size, len(order))
        arguments = {"start": start, "stop": stop, "counts": order.counts(start).tolist()}
        name = f"train-{shard:05d}-of-{shards:05d}"
        parts.append(Part(name, (stop - start) * record_bytes, arguments))
    index = {subset.name: number for number, subset in enumerate(planned.subsets)}
    for name in sorted(tokens["heldout"]):
        sequences = -(-int(tokens["heldout"][name]["tokens"]) // planned.sequence_length)
        if sequences:
            arguments = {"heldout": name, "index": index[name], "stop": sequences}
            parts.append(Part(f"heldout/{name}", sequences * record_bytes, arguments))
    return parts


def _manifest(
    config: Config,
    planned: MixturePlan,
    tokens: dict[str, Any],
    parts: list[Part],
    results: list[PartResult],
) -> dict[str, Any]:
    files = []
    heldout = {}
    for part, result in zip(parts, results, strict=True):
        (file,) = result.files
        if file.bytes != part.bytes:
            raise StageError(f"{file.path} has {file.bytes} bytes instead of {part.bytes}")
        entry = {
            "path": file.path.removeprefix("shards/"),
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        name = part.arguments.get("heldout")
        if name is None:
            files.append({**entry, "records": result.counts["records"]})
        else:
            store = tokens["heldout"][name]
            heldout[name] = {
                **entry,
                "sequences": result.counts["records"],
                "targets": store["tokens"],
                "text_bytes": store["text_bytes"],
                "documents": store["documents"],
            }
    return {
        "format": FORMAT,
        "version": VERSION,
        "sequence_length": planned.sequence_length,
        "record_bytes": record_layout(planned, tokens).record_bytes,
        **{name: tokens[name] for name in TOKENIZER_KEYS},
        "seed": config.seed,
        "sequences": planned.sequences,
        "subsets": [planned.entry(number) for number in range(len(planned.subsets))],
        **({"stages": planned.stage_entries()} if config.mixture.stages else {}),
        "files": files,
        "heldout": heldout,
        "mixture": to_dict(config.mixture),
    }
