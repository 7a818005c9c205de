"""Stages `tokenizer` and `tokens`: train the SentencePiece model, then encode every document.

The tokenizer is trained on documents only, never on held-out ones. The tokens depend on the bytes
of the model and of the documents, so whatever leaves both alone (new weights with
`tokenizer.model` set, a threshold that changes nothing) re-uses the stores.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.dataset import FileRecord, atomic_file, sha256_file, write_json
from massivetext.document import text_buffers
from massivetext.errors import InputError
from massivetext.lineage import documents_identity
from massivetext.mixture import resolve_weights
from massivetext.presets import TOKENIZERS, TokenizerPreset
from massivetext.progress import Progress, human_bytes, human_seconds
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.sample import SAMPLE, budgets, candidates, cutoff, fill
from massivetext.tokenizer.train import train_model
from massivetext.tokens import close_documents

from .parts import read_batches
from .stage import Context, Part, PartOutput, PartResult, add_counts, materialise, run_parts

VERSION = 2
MODEL = "tokenizer/tokenizer.model"
REPORT = "tokenizer/report.json"


class DrawSample:
    """Writes the documents of one part that may be in the tokenizer's sample."""

    def __init__(self, seed: int):
        self.seed = seed

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        asked = part.arguments
        path = out.root / asked["path"]
        with out.parquet(asked["sample"], SAMPLE) as file:
            for batch in candidates(path, asked["cutoff"], asked["budget"], self.seed):
                file.write(batch)


class TrainTokenizer:
    """Trains one model on the candidates of all parts."""

    def __init__(self, preset: TokenizerPreset, vocab_size: int, model_type: str):
        self.preset, self.vocab_size, self.model_type = preset, vocab_size, model_type

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        drawn = {name: 0 for name in part.arguments["budgets"]}

        def texts() -> Any:
            for name, budget in part.arguments["budgets"].items():
                files = [out.root / path for path in part.arguments["samples"].get(name, ())]
                for text in fill(files, budget):
                    drawn[name] += len(text.encode())
                    yield text

        # Half of the part is reading, half training: what takes longer differs.
        half = part.bytes // 2

        def watch(read: int, trained: float) -> None:
            out.progress(min(read, half) + int(trained * half))

        model, report = train_model(
            texts(), self.preset, self.vocab_size, self.model_type, watch=watch
        )
        with out.file(MODEL) as file:
            file.write(model)
        values = asdict(report)
        # The manifest is the same every time; these are not, and are told to whoever is watching.
        out.extra["cost"] = {name: values.pop(name) for name in ("seconds", "peak_rss_bytes")}
        out.extra["report"] = {**values, "bytes_by_subset": drawn}


class Encode:
    """Writes the tokens of one file of documents, and where each document ends."""

    def __init__(self, model: str, sha256: str):
        self.model, self.sha256 = model, sha256

    def setup(self) -> None:
        self.tokenizer = Tokenizer.load(self.model)
        if self.tokenizer.sha256 != self.sha256:
            raise InputError(f"{self.model} changed during the build; run the build again")

    def run(self, part: Part, out: PartOutput) -> None:
        source, folder = part.arguments["path"], part.arguments["tokens"]
        row = end = size = 0
        with out.file(f"{folder}.tokens") as tokens, out.file(f"{folder}.documents") as documents:
            for batch in read_batches(out.root / source, ["text"]):
                text = batch.column("text")
                try:
                    flat, offsets = self.tokenizer.encode_batch(text)
                except InputError as error:
                    last = row + batch.num_rows - 1
                    raise InputError(f"{source}, rows {row} to {last}: {error}") from error
                tokens.write(close_documents(flat, offsets, self.tokenizer.eos_id))
                if not self.tokenizer.lossless:
                    unknown = int(np.count_nonzero(flat == self.tokenizer.unk_id))
                    out.counts["unknown_tokens"] += unknown
                ends = end + offsets[1:] + np.arange(1, batch.num_rows + 1)
                documents.write(ends.astype("<u8"))
                row += batch.num_rows
                end = int(ends[-1]) if batch.num_rows else end
                size += _text_bytes(text)
                out.progress(size)
        if row != part.arguments["rows"]:
            raise InputError(
                f"{source} has {row} documents and its manifest says {part.arguments['rows']}; "
                "delete manifests/documents.json and build again"
            )
        out.counts.update(documents=row, tokens=end, text_bytes=size)


def _text_bytes(column: pa.Array) -> int:
    offsets = text_buffers(column)[1]
    return int(offsets[-1] - offsets[0])


def train_tokenizer_stage(
    context: Context, config: Config, documents_manifest: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `tokenizer`: train the model, or copy in the one the config names.

    The manifest has `model` (path), `sha256`, `vocab_size`, `dtype`, `eos_id`, `pad_id`, `unk_id`,
    `lossless`, `warnings` and, of a trained one, `report`.

    Raises:
      ConfigError: the given model cannot be used, or a subset has no weight.
      StageError: training failed, for example because the vocabulary is too large for the text.
    """
    chosen = config.tokenizer
    depends: dict[str, Any] = {"tokenizer": to_dict(chosen), "version": VERSION}
    if chosen.model is not None:
        Tokenizer.load(chosen.model)
        depends["model"] = sha256_file(Path(chosen.model))
    else:
        weights = resolve_weights(config.mixture, config.subsets)
        documents = documents_manifest["subsets"]
        sizes = {name: entry["bytes"] for name, entry in documents.items()}
        share = budgets(sizes, weights, chosen.sample_bytes)
        preset = TOKENIZERS[chosen.preset]
        depends |= {
            "documents": documents_identity(documents_manifest),
            "budgets": share,
            "preset": list(preset),
            "seed": config.seed,
        }

    def produce(key: str) -> dict[str, Any]:
        if chosen.model is not None:
            with atomic_file(context.root / MODEL) as copy:
                copy.write(Path(chosen.model).read_bytes())
            model = FileRecord(MODEL, copy.bytes, copy.digest.hexdigest(), 0)
            return _describe(context, [model], {})
        draws = _draws(key, documents, share)
        run_parts(context, "tokenizer", key, draws, DrawSample(config.seed))
        samples: dict[str, list[str]] = {}
        for draw in draws:
            samples.setdefault(draw.arguments["subset"], []).append(draw.arguments["sample"])
        arguments = {"budgets": share, "samples": samples}
        part = Part("train", 2 * sum(share.values()), arguments)
        vocab_size = chosen.vocab_size or preset.vocab_size
        work = TrainTokenizer(preset, vocab_size, chosen.model_type)
        [result] = run_parts(context, "tokenizer", key, [part], work)
        report = {"preset": chosen.preset, **result.extra["report"]}
        if not context.quiet:
            _tell(report, result.extra["cost"])
        return _describe(context, result.files, report)

    return materialise(context, "tokenizer", depends, ("tokenizer",), produce)


def _tell(report: dict[str, Any], cost: dict[str, Any]) -> None:
    drawn = report["bytes_by_subset"]
    names = ", ".join(f"{name} {human_bytes(size)}" for name, size in drawn.items() if size)
    cut = f", {report['reserved_characters']:,} characters left out that it cannot learn"
    Progress.line(
        "tokenizer",
        f"trained on {human_bytes(report['text_bytes'])} ({names}): {report['samples']:,} documents"
        f" in {report['sentences']:,} pieces of text{cut if report['reserved_characters'] else ''}",
    )
    Progress.line(
        "tokenizer",
        f"{report['vocab_size']:,} pieces in {human_seconds(cost['seconds'])}, "
        f"{human_bytes(cost['peak_rss_bytes'])} of memory",
    )


def _draws(key: str, documents: dict[str, Any], share: dict[str, int]) -> list[Part]:
    """Return a part for every file that candidates are drawn from; they go to the work folder."""
    return [
        Part(
            entry["path"].removesuffix(".parquet"),
            entry["bytes"],
            {
                "subset": name,
                "path": entry["path"],
                "sample": f".work/{key}/{entry['path']}",
                "budget": budget,
                "cutoff": cutoff(documents[name]["documents"], documents[name]["bytes"], budget),
            },
        )
        for name, budget in share.items()
        if budget > 0
        for entry in documents[name]["parts"]
    ]


def _describe(context: Context, files: list[FileRecord], report: dict[str, Any]) -> dict[str, Any]:
    tokenizer = Tokenizer.load(context.root / MODEL)
    for warning in tokenizer.warnings:
        Progress.line("tokenizer", f"warning: the model is not lossless: {warning}")
    body = {
        "model": MODEL,
        "sha256": tokenizer.sha256,
        "vocab_size": tokenizer.vocab_size,
        "dtype": tokenizer.dtype.name,
        "eos_id": tokenizer.eos_id,
        "pad_id": tokenizer.pad_id,
        "unk_id": tokenizer.unk_id,
        "lossless": tokenizer.lossless,
        "warnings": list(tokenizer.warnings),
        "report": report,
    }
    if report:
        path = context.root / REPORT
        write_json(path, body)
        files = [*files, FileRecord(REPORT, path.stat().st_size, sha256_file(path), 0)]
    return {**body, "files": files}


def tokenise_stage(
    context: Context,
    config: Config,
    documents_manifest: dict[str, Any],
    tokenizer_manifest: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest of `tokens`, which `massivetext.tokens.TokenStore.open` reads.

    Its `subsets` and `heldout` map a subset to `documents`, `tokens` (each document's EOS counted),
    `text_bytes` and `parts` in order, each with `path`, `documents`, `tokens` and `text_bytes`.

    Raises:
      StageError: a file of documents cannot be read or is not what its manifest says.
    """
    model = tokenizer_manifest["model"]
    sha256 = tokenizer_manifest["sha256"]
    kinds = {"subsets": "tokens", "heldout": "tokens/heldout"}
    depends = {
        "tokenizer": sha256,
        "documents": documents_identity(documents_manifest),
        "version": VERSION,
    }
    parts = [
        Part(
            entry["path"].removesuffix(".parquet"),
            entry["bytes"],
            {
                "kind": kind,
                "subset": name,
                "path": entry["path"],
                "rows": entry["rows"],
                "tokens": f"{folder}/{name}/{Path(entry['path']).stem}",
            },
        )
        for kind, folder in kinds.items()
        for name, subset in sorted(documents_manifest[kind].items())
        for entry in subset["parts"]
    ]

    def produce(key: str) -> dict[str, Any]:
        work = Encode(str(context.root / model), sha256)
        results = run_parts(context, "tokens", key, parts, work)
        body: dict[str, Any] = {
            kind: {name: _store(kind, name, parts, results) for name in documents_manifest[kind]}
            for kind in kinds
        }
        body |= {
            name: tokenizer_manifest[name] for name in ("vocab_size", "dtype", "eos_id", "pad_id")
        }
        body["tokenizer_sha256"] = sha256
        body["counts"] = add_counts(results)
        if body["counts"].get("unknown_tokens"):
            Progress.line(
                "tokens",
                f"warning: {body['counts']['unknown_tokens']:,} tokens are <unk>: the characters "
                "they stand for are lost; a model with byte fallback keeps them",
            )
        body["files"] = [file for result in results for file in result.files]
        return body

    return materialise(context, "tokens", depends, ("tokens",), produce)


def _store(kind: str, name: str, parts: list[Part], results: list[PartResult]) -> dict[str, Any]:
    totals = ("documents", "tokens", "text_bytes")
    entries = [
        {
            "path": f"{part.arguments['tokens']}.tokens",
            **{total: result.counts.get(total, 0) for total in totals},
        }
        for part, result in zip(parts, results, strict=True)
        if part.arguments["kind"] == kind and part.arguments["subset"] == name
    ]
    return {**{t: sum(entry[t] for entry in entries) for t in totals}, "parts": entries}
