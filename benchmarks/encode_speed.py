"""Rows of encode.py: encoding with one model, beside the tools that others use for the same."""

import functools
import json
from pathlib import Path
from typing import Any

import corpora
from corpora import Document
from peers import Contender, Environment, in_turns
from report import Bench, Row, median

from massivetext.extract import extract
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.huggingface import export
from massivetext.tokenizer.train import train

SENTENCEPIECE = Environment("sentencepiece", ("sentencepiece==0.2.3",))
TOKENIZERS_ = Environment("tokenizers", ("tokenizers==0.23.3",))
TIKTOKEN = Environment("tiktoken", ("tiktoken==0.14.0",))

VOCAB_SIZE = 32_000
CODE = "code/the_algorithms.jsonl.gz"
PAGES = {
    "Chinese": "web/libreoffice-help-zh-cn.warc.gz",
    "Russian": "web/libreoffice-help-ru.warc.gz",
}

# How cl100k_base splits texts; its ranks are a download, so they are trained here.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def documents(name: str, size: int) -> list[Document]:
    """Return `size` bytes of a corpus in pieces of 20 kB: SentencePiece slows down with length."""
    if name == "English":
        whole = corpora.all_texts()
    elif name == "code":
        whole = corpora.records(CODE)
    else:
        whole = _extracted(PAGES[name])
    size = min(size, corpora.text_bytes(whole))
    return [
        {"id": f"{name}/{number}", "text": text}
        for number, text in enumerate(corpora.chunks(whole, size))
    ]


@functools.cache
def _extracted(relative: str) -> list[Document]:
    """Return the texts of the pages of a WARC file."""
    pages = corpora.warc_pages(relative)
    return [{"id": page["id"], "text": extract(page["html"])} for page in pages]


def encode(bench: Bench) -> None:
    """One pass over each corpus with an empty cache; SentencePiece's tokens are the reference."""
    size = 1_500_000 if bench.quick else 24_000_000
    sets = {name: documents(name, size) for name in ("English", "code", *PAGES)}
    model, files = _models(bench, [d for some in sets.values() for d in some])
    for name, some in sets.items():
        path = corpora.write_jsonl(bench.folder / "documents.jsonl", some)
        ranks = {"ranks": str(files["ranks"]), "pattern": PATTERN}
        contenders = [
            Contender("massivetext", "massivetext_encode.py", options={"model": str(model)}),
            Contender(
                "sentencepiece", "sentencepiece_encode.py", SENTENCEPIECE, {"model": str(model)}
            ),
            Contender(
                "tokenizers", "tokenizers_encode.py", TOKENIZERS_, {"file": str(files["json"])}
            ),
            Contender("tiktoken", "tiktoken_encode.py", TIKTOKEN, ranks),
        ]
        results = in_turns(contenders, path, bench.repetitions, bench.report.body["peers"])
        _rows(bench, name, results)


def _models(bench: Bench, sample: list[Document]) -> tuple[Path, dict[str, Path]]:
    """Train one BPE model on the sample, and byte-level ranks of the same size for tiktoken."""
    model = bench.folder / "benchmark.model"
    vocab_size = 8000 if bench.quick else VOCAB_SIZE
    train((d["text"] for d in sample), TOKENIZERS["chinchilla"], vocab_size, model)
    files = {"json": bench.folder / "tokenizer.json", "ranks": bench.folder / "ranks.json"}
    export(model, files["json"])
    path = corpora.write_jsonl(bench.folder / "sample.jsonl", sample)
    options = {"pattern": PATTERN, "vocab_size": vocab_size, "out": str(files["ranks"])}
    trainer = Contender("byte-level trainer", "tokenizers_train.py", TOKENIZERS_, options)
    if not in_turns([trainer], path, 1, bench.report.body["peers"])[trainer.name]:
        files["ranks"].write_text(json.dumps([bytes([b]).hex() for b in range(256)]))
    return model, files


def _rows(bench: Bench, name: str, results: dict[str, list[dict[str, Any]]]) -> None:
    ours = results["massivetext"]
    size, count = ours[0]["bytes"], ours[0]["tokens"]
    bench.report.body["corpora"][name] = {"documents": ours[0]["documents"], "bytes": size}
    seconds = {other: [run["seconds"] for run in runs] for other, runs in results.items() if runs}
    walls = {other: [run["wall_seconds"] for run in runs] for other, runs in results.items()}
    again = [run["again"] for run in ours]
    english = name == "English"
    detail = {"bytes": size, "tokens": count, "cpu_seconds": seconds, "wall_seconds": walls}
    rate = size / 1e6 / median(seconds["massivetext"])
    target = 40.0 if english else None
    bench.report.add(Row("encode", name, rate, "MB/s", at_least=target, detail=detail))
    rate = size / 1e6 / median(again)
    bench.report.add(Row("encode", f"{name}, all in the cache", rate, "MB/s"))
    for other, wanted in (
        ("sentencepiece", 8.0 if english else 3.0),
        ("tokenizers", 1.0 if english else None),
        ("tiktoken", 1.0 if english else None),
    ):
        what = f"times {other}, {name}"
        if not results[other]:
            why = bench.report.body["peers"][other]["note"]
            bench.report.add(Row("encode", what, None, "x", at_least=wanted, note=why))
            continue
        ratio = median(seconds[other]) / median(seconds["massivetext"])
        rates = {"MB_per_s": size / 1e6 / median(seconds[other])}
        bench.report.add(Row("encode", what, ratio, "x", at_least=wanted, detail=rates))
        if other != "tiktoken":
            pairs = zip(ours[0]["ids"], results[other][0]["ids"], strict=True)
            differ = sum(a != b for a, b in pairs)
            what = f"documents with other tokens than {other}, {name}"
            most = 0.0 if other == "sentencepiece" else None
            bench.report.add(Row("encode", what, differ, "", at_most=most))
