"""Rows of dedup.py: sketches, components of the graph of pairs, and overlap with test sets."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import corpora
import numpy as np
import pyarrow as pa
from corpora import Document
from dedup_corpora import NGRAM, passages
from dedup_peers import DATATROVE
from peers import Contender, in_turns
from report import Bench, Row, median

from massivetext.document import text_buffers
from massivetext.overlap import best_matches
from massivetext.overlap_index import build_index
from massivetext.test_sets import Item, read_items
from massivetext.unionfind import UnionFind

ITEMS = "test_sets/evaluation_items.jsonl.gz"
TEST_ITEMS = 200_000
PASSAGE_WORDS = (13, 80)
# The largest corpus of the paper has 2.35 billion documents.
DOCUMENTS = 2_350_000_000
EDGES_A_BATCH = 1 << 18

OURS = {"bands": 32, "rows": 8}


def kernels(bench: Bench) -> None:
    """Signatures of 256 permutations per core, by corpus, and datatrove's on the same documents."""
    documents = {name: corpora.texts(name) for name in corpora.TEXTS}
    if bench.quick:
        documents = {name: corpora.sample([all_], 3_000_000) for name, all_ in documents.items()}
    contender = Contender("massivetext", "massivetext_sketch.py", None, OURS)
    for name, some in documents.items():
        path = corpora.write_jsonl(bench.folder / "documents.jsonl", some)
        results = in_turns([contender], path, bench.repetitions, {})["massivetext"]
        size = results[0]["bytes"]
        bench.report.body["corpora"][name] = {"documents": len(some), "bytes": size}
        seconds = [result["seconds"] for result in results]
        steps = {
            step: size / 1e6 / median([result["seconds_by"][step] for result in results])
            for step in results[0]["seconds_by"]
        }
        detail: dict[str, Any] = {"seconds": seconds, "bytes": size, "MB_per_s_by": steps}
        rate = size / 1e6 / median(seconds)
        what = f"shingles, signature, bands, {name}"
        bench.report.add(Row("kernels", what, rate, "MB/s", at_least=120, detail=detail))
        rate = steps["minhash"]
        bench.report.add(Row("kernels", f"signature alone, {name}", rate, "MB/s"))
    size = 600_000 if bench.quick else 3_000_000
    _beside_datatrove(bench, contender, corpora.sample(documents.values(), size))


def _beside_datatrove(bench: Bench, ours: Contender, documents: list[Document]) -> None:
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", documents)
    theirs = Contender("datatrove", "datatrove_minhash.py", DATATROVE)
    peers = bench.report.body["peers"]
    results = in_turns([ours, theirs], path, bench.repetitions, peers)
    what = "times datatrove's MinhashDedupSignature"
    if not results["datatrove"]:
        why = peers["datatrove"]["note"]
        bench.report.add(Row("kernels", what, None, "x", at_least=150, note=why))
        return
    mine, other = ([result["seconds"] for result in results[name]] for name in results)
    size = results["massivetext"][0]["bytes"]
    detail = {
        "bytes": size,
        "massivetext_seconds": mine,
        "datatrove_seconds": other,
        "datatrove_MB_per_s": size / 1e6 / median(other),
    }
    ratio = median(other) / median(mine)
    bench.report.add(Row("kernels", what, ratio, "x", at_least=150, detail=detail))


def unionfind(bench: Bench) -> None:
    """Edges per second into a union-find, for graphs that are hard on it in different ways."""
    nodes = 5_000_000 if bench.quick else 100_000_000
    graphs = _graphs(nodes)
    # Compiles the kernels.
    _connect(2, iter([(np.array([0], np.uint32), np.array([1], np.uint32))]))
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in graphs}
    for _ in range(bench.repetitions):
        for name, edges in graphs.items():
            spent[name].append(_connect(nodes, edges()))
    rates: dict[str, float] = {}
    for name, seconds in spent.items():
        target = 20.0 if name == "random" else None
        what = f"{name}, {nodes / 1e6:.0f} M documents"
        adding, labelling = (median(part) for part in zip(*seconds, strict=True))
        detail = {"edges": nodes - 1, "seconds": seconds, "labels_seconds": labelling}
        rate = rates[name] = (nodes - 1) / 1e6 / adding
        bench.report.add(Row("unionfind", what, rate, "M edges/s", at_least=target, detail=detail))
    slowest = max(median([labelling for _, labelling in found]) for found in spent.values())
    bench.report.add(Row("unionfind", "labels, slowest graph", nodes / 1e6 / slowest, "M nodes/s"))
    size = DOCUMENTS * UnionFind(0).parent.itemsize / 1e9
    what = "memory for 2.35 billion documents, computed"
    bench.report.add(Row("unionfind", what, size, "GB", at_most=10))
    hours = 2 * DOCUMENTS / 1e6 / rates["random"] / 3600
    what = "two random edges a document at that rate, computed"
    bench.report.add(Row("unionfind", what, hours, "h"))


Batch = tuple[np.ndarray, np.ndarray]
Edges = Iterator[Batch]


def _graphs(nodes: int) -> dict[str, Callable[[], Edges]]:
    """Return graphs of `nodes` nodes and one edge less, each as batches of edges."""
    last = np.uint32(nodes - 1)

    def batches(make: Callable[[int, int], Batch]) -> Callable[[], Edges]:
        return lambda: (
            make(at, min(nodes - 1, at + EDGES_A_BATCH))
            for at in range(0, nodes - 1, EDGES_A_BATCH)
        )

    def random(start: int, stop: int) -> Batch:
        ends = np.random.default_rng(start).integers(0, nodes, (2, stop - start), dtype=np.uint32)
        return ends[0], ends[1]

    def scattered(start: int, stop: int) -> np.ndarray:
        # An order that jumps about: multiples of a prime that does not divide the count.
        return (np.arange(start, stop, dtype=np.uint64) * np.uint64(982_451_653)) % np.uint64(last)

    def up(start: int, stop: int) -> Batch:
        ends = np.arange(start, stop + 1, dtype=np.uint32)
        return ends[:-1], ends[1:]

    def down(start: int, stop: int) -> Batch:
        left, right = up(nodes - 1 - stop, nodes - 1 - start)
        return right[::-1].copy(), left[::-1].copy()

    def mixed(start: int, stop: int) -> Batch:
        left = scattered(start, stop).astype(np.uint32)
        return left, left + np.uint32(1)

    def star(start: int, stop: int) -> Batch:
        return np.full(stop - start, last), scattered(start, stop).astype(np.uint32)

    return {
        "random": batches(random),
        "chain, upwards": batches(up),
        "chain, downwards": batches(down),
        "chain, in mixed order": batches(mixed),
        "star round the last": batches(star),
    }


def _connect(nodes: int, edges: Edges) -> tuple[float, float]:
    """Return CPU seconds of adding the edges (not of making them) and of labelling the nodes."""
    graph = UnionFind(nodes)
    adding = 0.0
    for left, right in edges:
        start = time.process_time()
        graph.add(left, right)
        adding += time.process_time() - start
    start = time.process_time()
    graph.labels()
    return adding, time.process_time() - start


def overlap(bench: Bench) -> None:
    """Comparison with 200,000 test documents, per core, and the size of their index."""
    novels = corpora.texts("novels")
    measured = {
        "c4": corpora.texts("c4"),
        "peps": corpora.texts("peps"),
        "novels": novels[:2] if bench.quick else novels[::10],
    }
    items = _items([novel for at, novel in enumerate(novels) if at % 10])
    index = build_index(items, NGRAM)
    about = {"items": index.size, "ngram": NGRAM}
    what = f"index of {index.size:,} test documents"
    size = index.nbytes / 1e9
    bench.report.add(Row("overlap", what, size, "GB", at_most=1, detail=about))
    # Compiles the kernels.
    best_matches(*text_buffers(pa.array(["some words"], pa.large_string())), index)
    for name, documents in measured.items():
        texts = [document["text"] for document in documents]
        buffers = text_buffers(pa.array(texts, pa.large_string()))
        seconds = []
        for _ in range(bench.repetitions):
            start = time.process_time()
            matches = best_matches(*buffers, index)
            seconds.append(time.process_time() - start)
        size = corpora.text_bytes(documents)
        detail = {
            "seconds": seconds,
            "bytes": size,
            "with_a_common_shingle": int((matches.item >= 0).sum()),
            "above": int((matches.jaccard > 0.8).sum()),
        }
        rate = size / 1e6 / median(seconds)
        bench.report.add(Row("overlap", name, rate, "MB/s", at_least=50, detail=detail))


def _items(novels: list[Document]) -> list[Item]:
    """Return the real test documents, and passages of novels to make them `TEST_ITEMS`."""
    items = list(read_items([str(corpora.locate(ITEMS))], "text"))
    for number, passage in enumerate(passages(novels, *PASSAGE_WORDS, random.Random(1))):
        if len(items) == TEST_ITEMS:
            break
        items.append(Item("passages", str(number), passage))
    return items
