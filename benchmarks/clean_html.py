"""Rows of clean.py: extraction of text from pages, how fast and how well, beside its peers."""

import re
from collections import Counter
from typing import Any

import corpora
from corpora import Document
from peers import Contender, Environment, in_turns
from report import Bench, Row, median
from selectolax.lexbor import LexborHTMLParser

TRAFILATURA = Environment("trafilatura", ("trafilatura==2.3.1",))
RESILIPARSE = Environment("resiliparse", ("resiliparse==2.0.1",))
READABILITY = Environment("readability", ("readability-lxml==0.9",))

_WORD = re.compile(r"\w+")


def word_f1(found: str, expected: str) -> float:
    r"""Return how well `found` agrees with `expected`, as bags of words.

    Words are `\w+` of the lower-cased text. With c words in common (the smaller count of each),
    precision is c / words found, recall is c / words expected, and F1 = 2c / (found + expected):
    1 where both are empty. Order of words is not judged.
    """
    a, b = (Counter(_WORD.findall(text.lower())) for text in (found, expected))
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def html_text(markup: str) -> str:
    """Return all text of `markup`, its text nodes joined with blanks."""
    body = LexborHTMLParser(markup).body
    return "" if body is None else body.text(separator=" ")


def speed(bench: Bench) -> None:
    """Pages per second on pages of documentation, against trafilatura."""
    count = 8 if bench.quick else 50
    pages = [
        page
        for name in corpora.ENGLISH_WARCS
        for page in corpora.spread(corpora.warc_pages(name), count)
    ]
    path = corpora.write_jsonl(bench.folder / "pages.jsonl", pages)
    contenders = [
        Contender("massivetext", "massivetext_extract.py"),
        Contender("trafilatura", "trafilatura_extract.py", TRAFILATURA),
        Contender("trafilatura fast", "trafilatura_extract.py", TRAFILATURA, {"fast": True}),
    ]
    results = in_turns(contenders, path, bench.repetitions, bench.report.body["peers"])
    ours = [result["seconds"] for result in results["massivetext"]]
    size = results["massivetext"][0]["bytes"]
    detail: dict[str, Any] = {"seconds": ours, "pages": len(pages), "bytes": size}
    bench.report.add(Row("warc", "extraction", len(pages) / median(ours), "pages/s", detail=detail))
    for name, target in (("trafilatura", 8.0), ("trafilatura fast", None)):
        what = f"extraction, times {name}"
        if not results[name]:
            why = bench.report.body["peers"][name]["note"]
            bench.report.add(Row("warc", what, None, "x", at_least=target, note=why))
            continue
        theirs = [result["seconds"] for result in results[name]]
        detail = {
            "massivetext_seconds": ours,
            "peer_seconds": theirs,
            "peer_pages_per_s": len(pages) / median(theirs),
        }
        ratio = median(theirs) / median(ours)
        bench.report.add(Row("warc", what, ratio, "x", at_least=target, detail=detail))


def quality(bench: Bench) -> None:
    """F1 of extractors on saved news and blog pages with their expected text."""
    pages = corpora.records(corpora.ARTICLES)
    expected = [html_text(page["expected_html"]) for page in pages]
    documents: list[Document] = [{"id": page["id"], "html": page["html"]} for page in pages]
    path = corpora.write_jsonl(bench.folder / "pages.jsonl", documents)
    texts = {"texts": True}
    contenders = [
        Contender("massivetext", "massivetext_extract.py", None, texts),
        Contender("trafilatura", "trafilatura_extract.py", TRAFILATURA, texts),
        Contender(
            "trafilatura fast", "trafilatura_extract.py", TRAFILATURA, {**texts, "fast": True}
        ),
        Contender("resiliparse", "resiliparse_extract.py", RESILIPARSE, texts),
        Contender("readability-lxml", "readability_extract.py", READABILITY, texts),
    ]
    results = in_turns(contenders, path, 1, bench.report.body["peers"])
    scores: dict[str, float] = {}
    for name, found in results.items():
        if not found:
            why = bench.report.body["peers"][name]["note"]
            bench.report.add(Row("extraction", f"F1, {name}", None, "", note=why))
            continue
        result = found[0]
        got = result["texts"] if "texts" in result else map(html_text, result["markup"])
        each = [word_f1(text, want) for text, want in zip(got, expected, strict=True)]
        scores[name] = sum(each) / len(each)
        detail = {
            "pages": dict(zip((page["id"] for page in pages), each, strict=True)),
            "seconds": result["seconds"],
            "configuration": result["configuration"],
        }
        bench.report.add(Row("extraction", f"F1, {name}", scores[name], "", detail=detail))
    for name, target in (("trafilatura", -0.01), ("resiliparse", 0.0), ("readability-lxml", 0.0)):
        if name in scores:
            ahead = scores["massivetext"] - scores[name]
            bench.report.add(Row("extraction", f"F1 above {name}", ahead, "", at_least=target))
