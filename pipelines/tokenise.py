"""Stages `tokenizer` and `tokens`: train the SentencePiece model, then encode every document.

The tokenizer is trained on documents only, never on held-out ones. The tokens depend on the bytes
of the model and of the documents, so whatever leaves both alone (new weights with
`tokenizer.model` set, a threshold that changes nothing) re-uses the stores.
"""

from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.dataset import FileRecord, atomic_file, sha256_file, write_json
from massivetext.fill_in_the_middle import SENTINELS
from massivetext.lineage import documents_identity
from massivetext.mixture import resolve_weights
from massivetext.presets import TOKENIZERS, TokenizerPreset
from massivetext.progress import Progress, human_bytes, human_seconds
from massivetext.storage import location, read_bytes, size
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.sample import SAMPLE, budgets, candidates, cutoff, fill
from massivetext.tokenizer.train import train_model

from .context import Context
from .encode import INFILL, Encode, sentinel_ids
from .part import Part, PartOutput, PartResult, add_counts
from .stage import materialise, run_parts

VERSION = 2
MODEL = "tokenizer/tokenizer.model"
REPORT = "tokenizer/report.json"
# What is counted of a subset and of each of its parts.
STORED = ("documents", "tokens", "text_bytes")


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

    def __init__(
        self,
        preset: TokenizerPreset,
        vocab_size: int,
        model_type: str,
        control_symbols: tuple[str, ...],
    ):
        self.preset, self.vocab_size, self.model_type = preset, vocab_size, model_type
        self.control_symbols = control_symbols

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
            texts(), self.preset, self.vocab_size, self.model_type, watch, self.control_symbols
        )
        with out.file(MODEL) as file:
            file.write(model)
        values = asdict(report)
        # The manifest is the same every time; these are not, and are told to whoever is watching.
        out.extra["cost"] = {name: values.pop(name) for name in ("seconds", "peak_rss_bytes")}
        out.extra["report"] = {**values, "bytes_by_subset": drawn}


def train_tokenizer_stage(
    context: Context, config: Config, documents_manifest: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `tokenizer`: train the model, or copy in the one the config names.

    The manifest has `model` (path), `sha256`, `vocab_size`, `dtype`, `eos_id`, `pad_id`, `unk_id`,
    `lossless`, `warnings`, with fill-in-the-middle `sentinels` (ids by name) and, of a trained one,
    `report`.

    Raises:
      ConfigError: the given model cannot be used or lacks the sentinels, or a subset has no weight.
      StageError: training failed, for example because the vocabulary is too large for the text.
    """
    chosen = config.tokenizer
    depends: dict[str, Any] = {"tokenizer": to_dict(chosen), "version": VERSION}
    sentinels = () if config.fill_in_the_middle is None else SENTINELS
    if sentinels:
        depends["sentinels"] = list(sentinels)
    if chosen.model is not None:
        given = Tokenizer.load(chosen.model)
        if sentinels:
            sentinel_ids(given, chosen.model)
        depends["model"] = sha256_file(location(chosen.model))
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
                copy.write(read_bytes(location(chosen.model)))
            model = FileRecord(MODEL, copy.bytes, copy.digest.hexdigest(), 0)
            return _describe(context, [model], {}, sentinels)
        draws = _draws(key, documents, share)
        run_parts(context, "tokenizer", key, draws, DrawSample(config.seed))
        samples: dict[str, list[str]] = {}
        for draw in draws:
            samples.setdefault(draw.arguments["subset"], []).append(draw.arguments["sample"])
        arguments = {"budgets": share, "samples": samples}
        part = Part("train", 2 * sum(share.values()), arguments)
        vocab_size = chosen.vocab_size or preset.vocab_size
        work = TrainTokenizer(preset, vocab_size, chosen.model_type, sentinels)
        [result] = run_parts(context, "tokenizer", key, [part], work)
        report = {"preset": chosen.preset, **result.extra["report"]}
        if not context.quiet:
            _tell(report, result.extra["cost"])
        return _describe(context, result.files, report, sentinels)

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


def _describe(
    context: Context, files: list[FileRecord], report: dict[str, Any], sentinels: tuple[str, ...]
) -> dict[str, Any]:
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
    if sentinels:
        body["sentinels"] = sentinel_ids(tokenizer, MODEL)
    if report:
        path = context.root / REPORT
        write_json(path, body)
        files = [*files, FileRecord(REPORT, size(path), sha256_file(path), 0)]
    return {**body, "files": files}


def tokenise_stage(
    context: Context,
    config: Config,
    documents_manifest: dict[str, Any],
    tokenizer_manifest: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest of `tokens`, which `massivetext.tokens.TokenStore.open` reads.

    Its `subsets` and `heldout` map a subset to `documents`, `tokens` (each document's EOS counted,
    and sentinels), `text_bytes` (of the texts as they were) and `parts` in order, each with `path`,
    `documents`, `tokens` and `text_bytes`. With fill-in-the-middle, training subsets and their
    parts also have the number of documents so rewritten; held-out documents never are.

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
    rule = config.fill_in_the_middle
    if rule is not None:
        depends |= {"fill_in_the_middle": to_dict(rule), "seed": config.seed}
    parts = [
        Part(
            entry["path"].removesuffix(".parquet"),
            entry["bytes"],
            {
                "kind": kind,
                "subset": name,
                "path": entry["path"],
                "rows": entry["rows"],
                "tokens": f"{folder}/{name}/{PurePosixPath(entry['path']).stem}",
                INFILL: rule is not None and kind == "subsets" and rule.covers(name),
            },
        )
        for kind, folder in kinds.items()
        for name, subset in sorted(documents_manifest[kind].items())
        for entry in subset["parts"]
    ]

    def produce(key: str) -> dict[str, Any]:
        sentinels = tokenizer_manifest.get("sentinels", {})
        work = Encode(str(context.root / model), sha256, rule, sentinels, config.seed)
        results = run_parts(context, "tokens", key, parts, work)
        totals: dict[str, tuple[str, ...]] = dict.fromkeys(kinds, STORED)
        if rule is not None:
            totals["subsets"] += (INFILL,)
        body: dict[str, Any] = {
            kind: {
                name: _store(kind, name, totals[kind], parts, results)
                for name in documents_manifest[kind]
            }
            for kind in kinds
        }
        if rule is not None and not context.quiet:
            _tell_infill(body["subsets"])
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


def _tell_infill(subsets: dict[str, Any]) -> None:
    shares = ", ".join(
        f"{name} {entry[INFILL]:,} of {entry['documents']:,}"
        for name, entry in subsets.items()
        if entry[INFILL]
    )
    Progress.line("tokens", f"fill-in-the-middle documents: {shares or 'none'}")


def _store(
    kind: str, name: str, totals: tuple[str, ...], parts: list[Part], results: list[PartResult]
) -> dict[str, Any]:
    entries = [
        {
            "path": f"{part.arguments['tokens']}.tokens",
            **{total: result.counts.get(total, 0) for total in totals},
        }
        for part, result in zip(parts, results, strict=True)
        if part.arguments["kind"] == kind and part.arguments["subset"] == name
    ]
    return {**{t: sum(entry[t] for entry in entries) for t in totals}, "parts": entries}
