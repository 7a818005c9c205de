"""Deduplication end to end against brute force, on corpora with planted duplicates."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext.candidates import ALL_PAIRS, WINDOW, propose
from massivetext.config import Deduplicate
from massivetext.dropped import DROPPED
from massivetext.errors import StageError
from massivetext.hashing import hash_string
from massivetext.pipelines import deduplicate
from massivetext.pipelines.near import choose
from massivetext.pipelines.numbering import Numbering, mark, marked
from massivetext.pipelines.part import Part
from massivetext.urls import canonical
from tests.massivetext.reference_shingles import clusters, near_pairs, words

from . import measured

RNG = random.Random(7)
VOCABULARY = [f"{RNG.choice('abcdefgh')}{i}" for i in range(3000)]


def prose(rng: random.Random, count: int) -> list[str]:
    return [rng.choice(VOCABULARY) for _ in range(count)]


def edited(rng: random.Random, text: list[str], edits: int) -> list[str]:
    out = list(text)
    for at in rng.sample(range(len(out)), edits):
        out[at] = f"edit{rng.randrange(10**6)}"
    return out


def make_corpus(seed: int) -> dict[str, str]:
    """Originals, families with one to five edits (Jaccard around 0.8), and exact copies."""
    rng = random.Random(seed)
    texts = []
    for _ in range(60):
        base = prose(rng, rng.randint(120, 500))
        texts.append(" ".join(base))
        texts += [" ".join(edited(rng, base, rng.randint(1, 5))) for _ in range(rng.randrange(4))]
        if rng.random() < 0.3:
            texts.append(",  ".join(base) + "!")
    texts += ["", " ... ", "short text", "Short text", "short, text."]
    rng.shuffle(texts)
    return {f"books/a#{i}": text for i, text in enumerate(texts)}


def parts(texts: dict[str, str], count: int) -> list[list[dict]]:
    rows = [{"id": key, "text": text} for key, text in texts.items()]
    size = -(-len(rows) // count)
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def read(root: Path, folder: str) -> list[dict]:
    return [
        r for p in sorted((root / folder).rglob("*.parquet")) for r in pq.read_table(p).to_pylist()
    ]


def run(root: Path, corpus, bad=None, workers: int = 1, **rule):
    config = measured.config(root, corpus, deduplicate=Deduplicate(**rule))
    upstream = measured.write(root, corpus, bad)
    return deduplicate.run(measured.context(root, workers), config, *upstream)


def expected(texts: dict[str, str], seed: int = 1):
    """Return survivor by id of exact and of near duplicates, and the verified pairs."""
    number = {key: i for i, key in enumerate(texts)}

    def rank(key: str) -> tuple[int, int]:
        return hash_string(key, seed), number[key]

    groups: dict[str, list[str]] = {}
    for key, text in texts.items():
        if words(text):
            groups.setdefault(" ".join(words(text)), []).append(key)
    exact = {k: min(g, key=rank) for g in groups.values() for k in g if k != min(g, key=rank)}
    left = {k: t for k, t in texts.items() if words(t) and k not in exact}
    pairs = near_pairs(left, 0.8)
    near = {}
    for cluster in clusters(pairs):
        keep = min(cluster, key=rank)
        near |= {key: keep for key in cluster if key != keep}
    return exact, near, pairs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("dedup")
    texts = make_corpus(3)
    return root, texts, run(root, {"books": parts(texts, 3)})


def test_equals_brute_force(built):
    root, texts, manifest = built
    exact, near, pairs = expected(texts)
    rows = read(root, "duplicates")
    assert {r["id"]: r["partner"] for r in rows if r["kind"] == "exact"} == exact
    assert {r["id"]: r["survivor"] for r in rows if r["kind"] == "near"} == near
    assert len(near) > 40
    assert manifest["counts"]["verified_pairs"] == len(pairs)
    assert manifest["counts"]["candidate_pairs"] > len(pairs)
    for row in rows:
        assert row["cluster"] == row["survivor"]
        if row["kind"] == "exact":
            assert row["survivor"] == near.get(row["partner"], row["partner"])
            assert row["jaccard"] == 1.0
        else:
            similar = {
                (value, -int(other.split("#")[1])): other
                for pair, value in pairs.items()
                for key, other in (pair, pair[::-1])
                if key == row["id"]
            }
            (value, _), partner = max(similar.items())
            assert (row["partner"], row["jaccard"]) == (partner, value)


def test_drop_lists_name_rows_rules_and_partners(built):
    root, texts, manifest = built
    for kind in ("exact", "near"):
        evidence = {r["id"]: r for r in read(root, "duplicates") if r["kind"] == kind}
        seen = 0
        for number, part in enumerate(parts(texts, 3)):
            table = pq.read_table(root / f"dropped/{kind}/books/part-{number:05d}.parquet")
            assert table.schema.equals(DROPPED)
            for row in table.to_pylist():
                seen += 1
                assert part[row["row"]]["id"] == row["id"]
                assert (row["stage"], row["rule"]) == (kind, f"{kind}_duplicate")
                assert row["partner"] == evidence[row["id"]]["partner"]
                assert row["value"] == evidence[row["id"]]["jaccard"]
                assert row["threshold"] == (0.8 if kind == "near" else None)
        assert seen == len(evidence) == manifest["subsets"]["books"][kind]
    empty = sum(not words(text) for text in texts.values())
    assert manifest["subsets"]["books"]["empty"] == empty == 2
    assert manifest["subsets"]["books"]["documents"] == len(texts)


def test_same_bytes_with_two_workers(built, tmp_path):
    root, texts, _ = built
    run(tmp_path, {"books": parts(texts, 3)}, workers=2)

    def digest(folder):
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file()
        }

    assert digest(tmp_path) == digest(root)
    assert not any((root / ".work").rglob("*.*"))


def test_excepted_subsets_and_cleaned_rows_take_no_part(tmp_path):
    text = " ".join(prose(random.Random(1), 60))
    corpus = {
        "books": [[{"id": "books/a#0", "text": text}, {"id": "books/a#1", "text": "other words"}]],
        "c4": [[{"id": "c4/a#0", "text": text}, {"id": "c4/a#1", "text": text}]],
        "wikipedia": [[{"id": "wikipedia/a#0", "text": text}]],
    }
    manifest = run(tmp_path, corpus, {"c4/part-00000": [1]})
    rows = read(tmp_path, "duplicates")
    assert {r["id"] for r in rows} | {r["survivor"] for r in rows} == {"books/a#0", "c4/a#0"}
    assert manifest["counts"]["documents"] == 3
    assert not (tmp_path / "dropped/exact/wikipedia").exists()
    assert (tmp_path / "dropped/near/c4/part-00000.parquet").exists()


def test_disabled_or_nothing_to_do(tmp_path):
    corpus = {"books": [[{"id": "books/a#0", "text": "a b"}, {"id": "books/a#1", "text": "a b"}]]}
    assert run(tmp_path, corpus, enabled=False)["files"] == []
    empty = {"books": [[{"id": "books/a#0", "text": ""}], []]}
    manifest = run(tmp_path, empty)
    assert manifest["counts"]["empty"] == 1
    assert len(manifest["files"]) == 6


def test_boilerplate_on_every_page_forms_no_cluster(tmp_path):
    rng = random.Random(5)
    boilerplate = " ".join(prose(rng, 150))
    # 138 shingles in common and 20 of each page's own: a Jaccard of 0.775.
    texts = {f"books/a#{i}": boilerplate + " " + " ".join(prose(rng, 20)) for i in range(900)}
    manifest = run(tmp_path, {"books": parts(texts, 2)})
    assert manifest["counts"]["candidate_pairs"] > 1000
    assert manifest["counts"]["large_buckets"] > 0
    assert manifest["counts"]["uncompared_pairs"] > 0
    assert manifest["counts"]["verified_pairs"] == 0
    assert read(tmp_path, "duplicates") == []


def test_many_identical_documents_leave_one(tmp_path):
    texts = {f"books/a#{i}": "the same words again" for i in range(5000)}
    manifest = run(tmp_path, {"books": parts(texts, 3)})
    rows = read(tmp_path, "dropped/exact")
    assert manifest["counts"]["exact"] == len(rows) == 4999
    assert len({row["partner"] for row in rows}) == 1
    assert manifest["counts"]["candidate_pairs"] == 0


def test_threshold_is_strict(tmp_path):
    # A text and its beginning: 8 of 10 shingles shared is 0.8 and stays, 8 of 9 goes.
    for count, dropped in ((10, 0), (9, 1)):
        text = [f"w{i}" for i in range(count + 12)]
        texts = {"books/a#0": " ".join(text), "books/a#1": " ".join(text[: 8 + 12])}
        root = tmp_path / str(count)
        run(root, {"books": parts(texts, 1)}, bands=128, rows=1)
        assert len(read(root, "duplicates")) == dropped


def test_second_run_reuses_and_a_new_threshold_keeps_sketches(tmp_path):
    texts = make_corpus(4)
    corpus = {"books": parts(texts, 2)}
    first = run(tmp_path, corpus)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "sketches").rglob("*.parquet")}
    assert run(tmp_path, corpus) == first
    assert run(tmp_path, corpus, jaccard=0.9)["counts"]["near"] < first["counts"]["near"]
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_buckets_up_to_the_limit_give_all_pairs_and_larger_ones_bounded_work():
    def pairs(size):
        numbers = np.arange(size, dtype=np.uint32)[::-1].copy()
        ranks = np.where(numbers == 70, 0, numbers + 5).astype(np.uint32)
        pieces, large = propose(np.full(size, 9, np.uint64), ranks, numbers)
        return np.concatenate(list(pieces)), large

    small, large = pairs(ALL_PAIRS)
    assert len(small) == len(np.unique(small)) == ALL_PAIRS * (ALL_PAIRS - 1) // 2
    assert large == (0, 0)
    size = 1000
    found, large = pairs(size)
    assert len(found) == len(np.unique(found)) <= size * (WINDOW + 1)
    assert large == (1, size * (size - 1) // 2 - len(found))
    ends = {tuple(divmod(int(p), 2**32)) for p in found}
    assert {(min(70, i), max(70, i)) for i in range(size) if i != 70} <= ends
    assert {(i, i + d) for d in range(1, WINDOW + 1) for i in range(size - d)} <= ends


def test_buckets_survive_small_output_pieces(monkeypatch):
    rng = np.random.default_rng(1)
    bands = rng.integers(0, 12, 3000).astype(np.uint64)
    ranks = rng.integers(0, 99, 3000).astype(np.uint32)
    numbers = np.arange(3000, dtype=np.uint32)
    whole = np.concatenate(list(propose(bands, ranks, numbers)[0]))
    monkeypatch.setattr("massivetext.candidates.PAIRS_A_BATCH", 2 * ALL_PAIRS)
    pieces = list(propose(bands, ranks, numbers)[0])
    assert len(pieces) > 100
    assert np.array_equal(np.concatenate(pieces), whole)
    assert (whole >> np.uint64(32) < (whole & np.uint64(0xFFFFFFFF))).all()
    low, high = (whole >> np.uint64(32)).astype(int), (whole & np.uint64(0xFFFFFFFF)).astype(int)
    assert (bands[low] == bands[high]).all()


def test_choose_keeps_the_least_priority_and_breaks_ties_by_number():
    left, right = np.array([0, 1, 3]), np.array([1, 2, 4])
    lost, survivor, partner, value = choose(
        np.array([5, 9, 3, 7, 7], np.uint64), left, right, np.array([0.9, 0.9, 0.85])
    )
    found = list(
        zip(lost.tolist(), survivor.tolist(), partner.tolist(), value.tolist(), strict=True)
    )
    assert found == [(0, 2, 1, 0.9), (1, 2, 0, 0.9), (4, 3, 3, 0.85)]


def test_numbering_has_32_bits():
    half = Part("a/part-00000", 1, {"subset": "a", "rows": 2**31})
    numbering = Numbering([half, Part("b/part-00000", 1, {"subset": "b", "rows": 2**31 - 1})])
    assert numbering.total == 2**32 - 1
    assert numbering.part_of(np.array([0, 2**31 - 1, 2**31])).tolist() == [0, 0, 1]
    with pytest.raises(StageError, match="32 bits"):
        Numbering([half, half])


def test_marked_numbers_of_any_range():
    rng = np.random.default_rng(2)
    numbers = np.unique(rng.integers(0, 1000, 200)).astype(np.uint32)
    bits = np.zeros(1000 // 8 + 1, np.uint8)
    mark(bits, numbers)
    for start, stop in ((0, 1000), (3, 5), (8, 16), (13, 13), (999, 1000), (7, 501)):
        inside = numbers[(numbers >= start) & (numbers < stop)]
        assert marked(bits, start, stop).tolist() == inside.tolist()


def test_a_list_column_larger_than_memory_goes_through_a_file(monkeypatch):
    from massivetext.pipelines import near

    column = pa.chunked_array([[[1, 2], [], [3]], [[4]]], type=pa.large_list(pa.uint64()))
    sliced = pa.chunked_array([column.chunk(0).slice(1), column.chunk(1)])
    for memory in (near.MEMORY, 0):
        monkeypatch.setattr(near, "MEMORY", memory)
        values, starts = near._flat_lists(sliced)
        assert values.tolist() == [3, 4]
        assert starts.tolist() == [0, 0, 1, 2]


def by_url_corpus():
    """Documents of two subsets whose URLs, texts and near texts chain: url -> exact -> near."""
    rng = random.Random(11)
    shared, other = " ".join(prose(rng, 80)), " ".join(prose(rng, 80))
    rows = [
        ("http://a.org/1", shared),
        ("https://A.org:443/1#top", other),
        ("http://a.org/1/", "a text of its own"),
        ("http://b.org", shared),
        ("HTTP://b.org/", "b says something else over https"),
        (None, "nobody knows where"),
        (None, "nobody knows where it is from"),
        ("", "an empty address is none"),
        (" ", "nor is a blank one"),
        ("http://e.org", "..."),
        ("http://e.org", "page e"),
    ]
    rows += [(f"http://f.org/?{i % 7}", f"page {i} of f") for i in range(40)]
    rows += [(f"http://g.org/{i}", f"page {i % 9} of g") for i in range(40)]
    for i in range(60):
        base = prose(rng, 150)
        rows += [
            (f"http://h.org/{i}", f"the one of its kind, {i}"),
            (f"https://h.org/{i}", " ".join(base)),
            (f"http://h.org/{i}?text", " ".join(base)),
            (f"http://h.org/{i}?near", " ".join(edited(rng, base, 1))),
        ]
    books = [{"id": f"books/a#{i}", "url": url, "text": text} for i, (url, text) in enumerate(rows)]
    c4 = [{"id": f"c4/a#{i}", "url": "http://a.org/1", "text": f"c4 has {i}"} for i in range(3)]
    return books, c4


def expected_by_url(documents: list[dict], seed: int = 1) -> dict[str, dict[str, str]]:
    """Return the partner of each duplicate, by kind, and the survivor of each, one by one."""
    number = {d["id"]: i for i, d in enumerate(documents)}

    def keep_one(groups: dict) -> dict[str, str]:
        def rank(key: str) -> tuple[int, int]:
            return hash_string(key, seed), number[key]

        best = {key: min(group, key=rank) for group in groups.values() for key in group}
        return {key: kept for key, kept in best.items() if key != kept}

    def group(items, key) -> dict:
        groups: dict = {}
        for item in items:
            if key(item) is not None:
                groups.setdefault(key(item), []).append(item["id"])
        return groups

    def address(document: dict) -> tuple[str, str] | None:
        key = canonical(pa.array([document["url"]], pa.string()))[0].as_py()
        return None if key is None else (document["id"].split("/")[0], key)

    present = [d for d in documents if words(d["text"])]
    url = keep_one(group(present, address))
    left = [d for d in present if d["id"] not in url]
    exact = keep_one(group(left, lambda d: " ".join(words(d["text"]))))
    texts = {d["id"]: d["text"] for d in left if d["id"] not in exact}
    near = {}
    for cluster in clusters(near_pairs(texts, 0.8)):
        kept = min(cluster, key=lambda key: (hash_string(key, seed), number[key]))
        near |= {key: kept for key in cluster if key != kept}
    final = {}
    for step in (url, exact, near):
        for key, kept in step.items():
            final[key] = near.get(exact.get(kept, kept), exact.get(kept, kept))
    return {"url": url, "exact": exact, "near": near, "survivor": final}


def found_by_url(root: Path) -> dict[str, dict[str, str]]:
    rows = read(root, "duplicates")
    by_kind = {
        kind: {r["id"]: r["partner"] for r in rows if r["kind"] == kind}
        for kind in ("url", "exact")
    }
    near = {r["id"]: r["survivor"] for r in rows if r["kind"] == "near"}
    return {**by_kind, "near": near, "survivor": {r["id"]: r["survivor"] for r in rows}}


def test_one_document_of_each_url_stays_and_texts_are_compared_among_those(tmp_path):
    books, c4 = by_url_corpus()
    manifests = []
    for reverse, workers in ((False, 1), (True, 2)):
        order = (books[::-1], c4[::-1]) if reverse else (books, c4)
        corpus = {"books": [order[0][:17], order[0][17:]], "c4": [order[1]]}
        root = tmp_path / str(reverse)
        manifests.append(run(root, corpus, workers=workers, by_url=True))
        documents = [*order[0], *order[1]]
        want = expected_by_url(documents)
        assert found_by_url(root) == want
        dropped = read(root, "dropped/exact")
        assert {r["id"]: (r["stage"], r["rule"], r["value"], r["partner"]) for r in dropped} == {
            **{k: ("exact", "url", None, p) for k, p in want["url"].items()},
            **{k: ("exact", "exact_duplicate", 1.0, p) for k, p in want["exact"].items()},
        }
        ids = [[d["id"] for d in part] for part in (*corpus["books"], *corpus["c4"])]
        for part, names in zip(("books/part-00000", "books/part-00001", "c4/part-00000"), ids):
            rows = pq.read_table(root / f"dropped/exact/{part}.parquet").to_pylist()
            assert [r["row"] for r in rows] == sorted(r["row"] for r in rows)
            assert all(names[r["row"]] == r["id"] for r in rows)
        assert len({d["id"] for d in c4} - set(want["url"])) == 1
    assert found_by_url(tmp_path / "False") == found_by_url(tmp_path / "True")
    assert manifests[0]["counts"] == manifests[1]["counts"]
    assert {name: manifests[0]["subsets"][name]["url"] for name in ("books", "c4")} == {
        "books": 95,
        "c4": 2,
    }
    assert manifests[0]["counts"]["url"] == 97
    assert manifests[0]["counts"]["exact"] == len(want["exact"]) > 20
    # What a URL keeps may fall to an equal text, that to a near one, or any of them stay.
    chains = set()
    for kept in want["url"].values():
        text = want["exact"].get(kept)
        chains.add((text is not None, (text or kept) in want["near"]))
    assert len(chains) == 4
    assert not set(want["survivor"].values()) & set(want["survivor"])


def test_urls_do_not_matter_unless_asked_for_or_in_excepted_subsets(tmp_path):
    books, c4 = by_url_corpus()
    corpus = {"books": [books], "c4": [c4]}
    assert "url" not in run(tmp_path, corpus)["counts"]
    assert not any(name.startswith("url") for name in read(tmp_path, "sketches")[0])
    assert not any(r["kind"] == "url" for r in read(tmp_path, "duplicates"))
    manifest = run(tmp_path, corpus, by_url=True, except_=("books",))
    assert manifest["counts"]["url"] == 2
    assert {r["id"].split("/")[0] for r in read(tmp_path, "duplicates")} == {"c4"}
