"""Rows of clean.py: the rule kernels and language identification, alone and beside their peers."""

from typing import Any

import corpora
from corpora import Document
from peers import Contender, Environment, in_turns
from report import Bench, Row, median

DATATROVE = Environment(
    "datatrove", ("datatrove==0.10.1", "spacy==3.8.18", "nltk==3.10.4", "regex==2026.11.15")
)
FASTTEXT = Environment("fasttext", ("fasttext-community==0.11.9", "numpy==2.4.6"))

GOPHER = ["quality", "repetition"]
BOTH = "+".join(GOPHER)


def rules_contender(measured: list[list[str]]) -> Contender:
    """Return massivetext's rules, each list of groups of `measured` by itself."""
    config = {"safety": {"words": str(corpora.locate(corpora.WORD_LIST))}}
    options = {"measured": measured, "config": config}
    return Contender("massivetext", "massivetext_rules.py", options=options)


def kernels(bench: Bench) -> None:
    """Signals of the text rules per core, by corpus and by group, and datatrove's filters."""
    documents = {name: corpora.texts(name) for name in corpora.TEXTS}
    if bench.quick:
        documents = {name: corpora.sample([all_], 3_000_000) for name, all_ in documents.items()}
    for name, some in documents.items():
        results = _alone(bench, rules_contender([GOPHER]), some, name)
        _signal_rate(bench, f"quality + repetition, {name}", results, BOTH)
    groups = [GOPHER, ["quality"], ["repetition"], ["c4"], ["fineweb"], ["safety"]]
    everything = [document for some in documents.values() for document in some]
    results = _alone(bench, rules_contender(groups), everything, "c4 + peps + novels")
    _signal_rate(bench, "quality + repetition, all", results, BOTH, at_least=80)
    for [group] in groups[1:]:
        _signal_rate(bench, f"{group} alone, all", results, group)
    size = 600_000 if bench.quick else 3_000_000
    _beside_datatrove(bench, corpora.sample(documents.values(), size))


def _alone(
    bench: Bench, contender: Contender, documents: list[Document], name: str
) -> list[dict[str, Any]]:
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
    results = in_turns([contender], path, bench.repetitions, {})[contender.name]
    _note_corpus(bench, name, results[0])
    return results


def _note_corpus(bench: Bench, name: str, result: dict[str, Any]) -> None:
    bench.report.body["corpora"][name] = {
        "documents": result["documents"],
        "bytes": result["bytes"],
    }


def _signal_rate(
    bench: Bench,
    name: str,
    results: list[dict[str, Any]],
    groups: str,
    at_least: float | None = None,
) -> None:
    seconds = [result["signals_by"][groups] for result in results]
    size = results[0]["bytes"]
    detail = {"seconds": seconds, "bytes": size}
    rate = size / 1e6 / median(seconds)
    bench.report.add(Row("kernels", name, rate, "MB/s", at_least=at_least, detail=detail))


def _beside_datatrove(bench: Bench, documents: list[Document]) -> None:
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
    contenders = [
        rules_contender([GOPHER]),
        Contender("datatrove", "datatrove_gopher.py", DATATROVE),
    ]
    results = in_turns(contenders, path, bench.repetitions, bench.report.body["peers"])
    ours, theirs = results["massivetext"], results["datatrove"]
    _note_corpus(bench, "sample for datatrove", ours[0])
    for what, key, target in (
        ("both on every document", "seconds", 200.0),
        ("chained", "seconds_chained", None),
    ):
        name = f"times datatrove, {what}"
        if not theirs:
            why = bench.report.body["peers"]["datatrove"]["note"]
            bench.report.add(Row("kernels", name, None, "x", at_least=target, note=why))
            continue
        mine = [result["seconds"] for result in ours]
        other = [result[key] for result in theirs]
        size = ours[0]["bytes"]
        detail = {
            "bytes": size,
            "documents": ours[0]["documents"],
            "massivetext_seconds": mine,
            "datatrove_seconds": other,
            "massivetext_MB_per_s": size / 1e6 / median(mine),
            "datatrove_MB_per_s": size / 1e6 / median(other),
            "massivetext_kept": ours[0]["kept_by"][BOTH],
            "datatrove_kept": theirs[0]["kept"],
        }
        ratio = median(other) / median(mine)
        bench.report.add(Row("kernels", name, ratio, "x", at_least=target, detail=detail))


def language_contenders(*, predictions: bool = False) -> list[Contender]:
    """Return massivetext's language identification and fastText's own, on the same model."""
    model = str(corpora.locate(corpora.LANGUAGE_MODEL))
    options = {"model": model, "predictions": predictions}
    return [
        Contender("massivetext", "massivetext_language.py", options=options),
        Contender("fasttext", "fasttext_language.py", FASTTEXT, options),
    ]


def language(bench: Bench) -> None:
    """Language identification per core, and fastText's own prediction."""
    quick = [corpora.sample([corpora.all_texts()], 6_000_000)] if bench.quick else []
    for name, documents, target in (
        ("c4", corpora.texts("c4"), 40.0),
        ("all", quick[0] if quick else corpora.all_texts(), None),
    ):
        path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
        contenders = language_contenders()
        results = in_turns(contenders, path, bench.repetitions, bench.report.body["peers"])
        ours, theirs = results["massivetext"], results["fasttext"]
        size = ours[0]["bytes"]
        mine = [result["seconds"] for result in ours]
        rate = size / 1e6 / median(mine)
        detail: dict[str, Any] = {"seconds": mine, "bytes": size}
        what = f"language id, {name}"
        bench.report.add(Row("language", what, rate, "MB/s", at_least=target, detail=detail))
        what = f"times fastText, {name}"
        if not theirs:
            why = bench.report.body["peers"]["fasttext"]["note"]
            bench.report.add(Row("language", what, None, "x", note=why))
            continue
        other = [result["seconds"] for result in theirs]
        detail = {"massivetext_seconds": mine, "fasttext_seconds": other, "bytes": size}
        ratio = median(other) / median(mine)
        bench.report.add(Row("language", what, ratio, "x", detail=detail))


def accuracy(bench: Bench) -> None:
    """English kept and other languages dropped at probability 0.5: ours and the model's own."""
    documents = corpora.records(corpora.SENTENCES)
    if bench.quick:
        documents = corpora.spread(documents, 30_000)
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
    contenders = language_contenders(predictions=True)
    results = in_turns(contenders, path, 1, bench.report.body["peers"])
    kept = {name: _kept(found[0]) for name, found in results.items() if found}
    english = [document["lang"] == "en" for document in documents]
    for name, verdicts in kept.items():
        right = {True: 0, False: 0}
        for verdict, wanted in zip(verdicts, english, strict=True):
            right[wanted] += verdict == wanted
        for wanted, what in ((True, "English kept"), (False, "others dropped")):
            count = english.count(wanted)
            detail = {"right": right[wanted], "documents": count}
            share = right[wanted] / count
            bench.report.add(Row("accuracy", f"{what}, {name}", share, "", detail=detail))
    if "fasttext" not in kept:
        why = bench.report.body["peers"]["fasttext"]["note"]
        bench.report.add(Row("accuracy", "verdicts that differ", None, "", at_most=1e-4, note=why))
        return
    other = sum(a != b for a, b in zip(kept["massivetext"], kept["fasttext"], strict=True))
    detail = {"differ": other, "documents": len(documents)}
    share = other / len(documents)
    row = Row("accuracy", "verdicts that differ, share", share, "", at_most=1e-4, detail=detail)
    bench.report.add(row)


def _kept(result: dict[str, Any]) -> list[bool]:
    return [
        label in ("en", "__label__en") and probability >= 0.5
        for label, probability in zip(result["labels"], result["probabilities"], strict=True)
    ]
