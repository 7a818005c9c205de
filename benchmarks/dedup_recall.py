"""Rows of dedup.py: which near-duplicates are found, by their true similarity, and which clusters.

`candidates` are the pairs that a tool's sketches bring together, which peers report as duplicates.
massivetext's own stage compares them exactly, and reports each dropped document with a partner.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpora
import dedup_corpora
import dedup_truth
import numpy as np
import pyarrow.dataset as ds
from corpora import Document
from dedup_peers import contestants
from dedup_plot import Curve, recall_svg
from dedup_truth import BINS, THRESHOLD, Truth
from peers import in_turns
from processes import massivetext
from report import Bench, Row

from massivetext.dataset import read_json
from massivetext.unionfind import UnionFind

STAGE = "massivetext"
FOUND = 99.5
_FEW = 20


@dataclass(frozen=True)
class Outcome:
    """What one tool made of one corpus.

    Attributes:
      pairs: int64 [n, 2], i < j, distinct: what it reports.
      labels: int64 [documents], equal within a cluster.
      found: int64 [BINS], its pairs by true similarity.
      detail: what else is known of the run, JSON.
    """

    pairs: np.ndarray
    labels: np.ndarray
    found: np.ndarray
    detail: dict[str, Any] = field(default_factory=dict)

    def together(self, pairs: np.ndarray) -> int:
        """Return how many of the pairs are in one cluster."""
        return int((self.labels[pairs[:, 0]] == self.labels[pairs[:, 1]]).sum())

    def largest(self) -> int:
        return int(np.bincount(self.labels).max())

    def cluster_pairs(self) -> int:
        sizes = np.bincount(self.labels)
        return int((sizes * (sizes - 1) // 2).sum())


def components(documents: int, pairs: np.ndarray) -> np.ndarray:
    """Return the labels of the clusters that the pairs make."""
    graph = UnionFind(documents)
    graph.add(pairs[:, 0], pairs[:, 1])
    return graph.labels().astype(np.int64)


def _outcome(truth: Truth, pairs: np.ndarray, labels: np.ndarray, **detail: Any) -> Outcome:
    similarity = truth.jaccard(pairs)
    found = dedup_truth.by_bin(similarity[similarity > 0])
    return Outcome(pairs, labels, found, detail)


def run_stage(bench: Bench, path: Path, truth: Truth) -> Outcome:
    """Run `massivetext deduplicate` on a JSONL file; its pairs are (document, partner).

    `detail` holds the counts of the manifest and how far a reported similarity is from the truth.
    """
    output = bench.folder / f"output-{path.stem}"
    config = bench.folder / f"{path.stem}.yaml"
    subset = {"input": str(path), "format": "jsonl", "rules": []}
    # JSON is YAML.
    config.write_text(json.dumps({"output": str(output), "subsets": {"massiveweb": subset}}))
    finished = massivetext(["deduplicate", str(config), "--workers", "1"])
    manifest = read_json(output / "manifests" / "deduplicate.json")
    table = ds.dataset(output / "duplicates", format="parquet").to_table()
    if set(table["kind"].to_pylist()) - {"near"}:
        raise AssertionError("there are exact duplicates among documents that have none")
    document, partner, survivor = (
        np.array([_number(key) for key in table[name].to_pylist()], np.int64)
        for name in ("id", "partner", "survivor")
    )
    pairs = np.stack([document, partner], axis=1)
    labels = components(truth.documents, np.stack([document, survivor], axis=1))
    reported = table["jaccard"].to_numpy()
    true = truth.jaccard(pairs)
    return _outcome(
        truth,
        np.unique(np.sort(pairs, axis=1), axis=0),
        labels,
        counts=manifest["counts"],
        seconds=finished.cpu_seconds,
        wall_seconds=finished.seconds,
        reported=len(reported),
        at_or_below_threshold=int((true <= THRESHOLD).sum()),
        largest_difference=float(np.abs(reported - true).max(initial=0.0)),
    )


def _number(key: str) -> int:
    """Return the number of the document: its id ends with that of its line, from 0."""
    return int(key.rpartition("#")[2])


def compete(bench: Bench, documents: list[Document], truth: Truth) -> dict[str, Outcome | str]:
    """Return what each tool made of the documents, or why it is not there, massivetext first."""
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
    outcomes: dict[str, Outcome | str] = {STAGE: run_stage(bench, path, truth)}
    contenders = [contestant.contender for contestant in contestants()]
    peers = bench.report.body["peers"]
    for name, results in in_turns(contenders, path, 1, peers).items():
        if not results:
            outcomes[name] = peers[name]["note"]
            continue
        [result] = results
        found = np.array(result["pairs"], np.int64)
        pairs = np.stack(np.divmod(found, truth.documents), axis=1)
        detail = {key: result[key] for key in ("seconds", "wall_seconds", "configuration")}
        labels = components(truth.documents, pairs)
        outcomes[name] = _outcome(truth, pairs, labels, **detail)
    return outcomes


def recall(bench: Bench) -> None:
    """Recall and precision by decile of true similarity, on four corpora; the plot of them."""
    limit = 400 if bench.quick else None
    sets = {name: dedup_corpora.family(name, limit) for name in dedup_corpora.FAMILIES}
    sets[dedup_corpora.PLANTED] = dedup_corpora.planted(*((60, 8) if bench.quick else (600, 12)))
    shares: dict[str, list[np.ndarray]] = {}
    bench.report.body["recall"] = {}
    for name, documents in sets.items():
        size = corpora.text_bytes(documents)
        bench.report.body["corpora"][name] = {"documents": len(documents), "bytes": size}
        truth = dedup_truth.find(documents)
        outcomes = compete(bench, documents, truth)
        there = {tool: o for tool, o in outcomes.items() if isinstance(o, Outcome)}
        _table(bench, name, truth, there)
        _rows(bench, name, truth, outcomes)
        for tool, outcome in there.items():
            with np.errstate(invalid="ignore"):
                share = outcome.found / np.where(truth.histogram < _FEW, np.nan, truth.histogram)
            shares.setdefault(tool, []).append(share)
    _plot(bench, shares)


def _plot(bench: Bench, shares: dict[str, list[np.ndarray]]) -> None:
    curves = []
    for contestant in contestants():
        name = contestant.contender.name
        if name in shares:
            every = np.array(shares[name])
            filled = ~np.isnan(every).all(axis=0)
            centres = (np.arange(BINS)[filled] + 0.5) / BINS
            means = np.nanmean(every[:, filled], axis=0)
            curve = Curve(name, centres.tolist(), means.tolist(), contestant.bands, contestant.rows)
            curves.append(curve)
    title = "Pairs brought together, over their true 13-gram Jaccard (mean of the corpora)"
    path = bench.report.path.with_suffix(".svg")
    path.write_text(recall_svg(curves, title, THRESHOLD), encoding="utf-8")
    print(f"recall: plot in {path}", flush=True)


def _deciles(bins: np.ndarray) -> np.ndarray:
    return bins.reshape(10, -1).sum(axis=1)


def _table(bench: Bench, corpus: str, truth: Truth, outcomes: dict[str, Outcome]) -> None:
    """Print the share of the pairs of each decile that each tool found, in percent."""
    pairs = _deciles(truth.histogram)
    body: dict[str, Any] = {"pairs": pairs.tolist()}
    print(f"\n{corpus}: {truth.documents} documents; % of the pairs of a true 13-gram Jaccard in")
    heads = [f"-{edge / 10:.1f}" for edge in range(1, 11)]
    print(" " * 24 + "".join(head.rjust(10) for head in heads))
    print("pairs".ljust(24) + "".join(f"{count:,}".rjust(10) for count in pairs))
    # The stage's own rows hold one partner for each dropped document, not every verified pair.
    for tool, outcome in outcomes.items():
        found = _deciles(outcome.found)
        if tool != STAGE:
            cells = [f"{100 * f / p:.2f}" if p else "-" for f, p in zip(found, pairs, strict=True)]
            print(tool.ljust(24) + "".join(cell.rjust(10) for cell in cells))
        body[tool] = {
            **outcome.detail,
            "found": found.tolist(),
            "found_without_common_shingle": len(outcome.pairs) - int(found.sum()),
            "largest_cluster": outcome.largest(),
            "pairs_in_clusters": outcome.cluster_pairs(),
        }
    print(flush=True)
    bench.report.body["recall"][corpus] = body


def _rows(bench: Bench, corpus: str, truth: Truth, outcomes: dict[str, Outcome | str]) -> None:
    above = truth.above
    for tool, outcome in outcomes.items():
        # What the stage finds is that two documents belong to one cluster, of which it keeps one.
        how = "in one cluster" if tool == STAGE else "found"
        names = {
            "found": f"{corpus}: pairs above {THRESHOLD} {how}, {tool}",
            "true": f"{corpus}: reported pairs that are, {tool}",
        }
        if isinstance(outcome, str):
            for what in names.values():
                bench.report.add(Row("recall", what, None, "%", note=outcome))
            continue
        right = int(outcome.found[round(BINS * THRESHOLD) :].sum())
        found, target = (outcome.together(above), FOUND) if tool == STAGE else (right, None)
        detail: dict[str, Any] = {
            "pairs_above": len(above),
            "found": found,
            "together_in_a_cluster": outcome.together(above),
        }
        if len(above):
            share = 100 * found / len(above)
            row = Row("recall", names["found"], share, "%", at_least=target, detail=detail)
            bench.report.add(row)
        detail = {
            "reported": len(outcome.pairs),
            "above": right,
            "pairs_in_clusters": outcome.cluster_pairs(),
            "pairs_in_clusters_above": outcome.together(above),
            "largest_cluster": outcome.largest(),
            **outcome.detail,
        }
        if len(outcome.pairs):
            share = 100 * right / len(outcome.pairs)
            target = 100.0 if tool == STAGE else None
            row = Row("recall", names["true"], share, "%", at_least=target, detail=detail)
            bench.report.add(row)
        if tool == STAGE:
            # Crowded buckets do not compare all their pairs, and clusters make up for it.
            share = 100 * outcome.detail["counts"]["verified_pairs"] / max(1, len(above))
            what = f"{corpus}: pairs above {THRESHOLD} compared themselves, {tool}"
            bench.report.add(Row("recall", what, share, "%"))
            value = outcome.detail["largest_difference"]
            what = f"{corpus}: reported similarity off by, {tool}"
            bench.report.add(Row("recall", what, value, "", at_most=0.0))


def boilerplate(bench: Bench) -> None:
    """Clusters of pages that share a paragraph, against the clusters of true duplicates."""
    documents = dedup_corpora.boilerplate(300 if bench.quick else 2000)
    truth = dedup_truth.find(documents)
    true = components(truth.documents, truth.above)
    largest = int(np.bincount(true).max())
    size = corpora.text_bytes(documents)
    about = {"documents": len(documents), "bytes": size, "pairs_above": len(truth.above)}
    bench.report.body["corpora"][dedup_corpora.BOILERPLATE] = about
    row = Row("boilerplate", "largest cluster of true duplicates", largest, "pages", detail=about)
    bench.report.add(row)
    for tool, outcome in compete(bench, documents, truth).items():
        names = (f"largest cluster, {tool}", f"pages dropped without a duplicate, {tool}")
        if isinstance(outcome, str):
            bench.report.add(Row("boilerplate", names[0], None, "pages", note=outcome))
            continue
        target = largest if tool == STAGE else None
        wrong = _wrongly_dropped(outcome.labels, true)
        detail = {**outcome.detail, "pairs": len(outcome.pairs)}
        rows = (
            Row("boilerplate", names[0], outcome.largest(), "pages", at_most=target, detail=detail),
            Row("boilerplate", names[1], wrong, "pages", at_most=0 if tool == STAGE else None),
        )
        for row in rows:
            bench.report.add(row)


def _wrongly_dropped(labels: np.ndarray, true: np.ndarray) -> int:
    """Return how many documents are lost when each cluster keeps one, and none should be.

    Of a cluster that holds k clusters of true duplicates (single documents among them), k - 1
    have no survivor.
    """
    both = np.unique(np.stack([labels, true], axis=1), axis=0)
    return len(both) - len(np.unique(both[:, 0]))
