"""Deduplication against earlier builds: against brute force, and every way that it cannot work."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext import lineage
from massivetext.candidates import ALL_PAIRS, WINDOW, propose
from massivetext.config import Deduplicate
from massivetext.dataset import sha256_json, write_json
from massivetext.errors import ConfigError, StageError
from massivetext.evidence import explain
from massivetext.hashing import hash_string
from massivetext.pipelines import deduplicate, earlier, near
from massivetext.pipelines.exact import Files
from massivetext.pipelines.numbering import Numbering
from massivetext.pipelines.part import Part
from tests.massivetext.reference_shingles import clusters, jaccard, near_pairs, shingles, words

from . import measured
from .test_deduplicate import edited, parts, prose, read

Texts = dict[str, str]


def run(root: Path, corpus, workers: int = 1, bad=None, **rule):
    """Run the stage as a build does, with the manifests that it leaves."""
    config = measured.config(root, corpus, deduplicate=Deduplicate(**rule))
    read_, clean = measured.write(root, corpus, bad)
    read_ = {**read_, "depends": {}}
    clean = {**clean, "depends": {"measured": sha256_json(read_)}}
    write_json(root / "manifests/measure.json", read_)
    write_json(root / "manifests/clean.json", clean)
    return deduplicate.run(measured.context(root, workers), config, read_, clean)


def build(root: Path, texts: Texts, workers: int = 1, **rule):
    return run(root, {"books": parts(texts, 2)}, workers, **rule)


def dropped(root: Path) -> set[str]:
    return {r["id"] for kind in ("exact", "near") for r in read(root, f"dropped/{kind}")}


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def batches(seed: int, edits: int = 5) -> tuple[Texts, Texts]:
    """Two batches whose families (of originals, edited and equal texts) go across. Both number
    their documents from 0: their ids are equal."""
    rng = random.Random(seed)
    texts: list[list[str]] = [[], []]
    for _ in range(50):
        base = prose(rng, rng.randint(300, 400))
        family = [" ".join(base)]
        family += [" ".join(edited(rng, base, rng.randint(1, edits))) for _ in range(3)]
        family += [",  ".join(base) + "!"] * rng.randrange(3)
        for text in rng.sample(family, rng.randint(1, len(family))):
            texts[rng.randrange(2)].append(text)
    for some in texts:
        some += ["", " ... ", "short text", "Short text", "short, text."]
        rng.shuffle(some)
    first, second = ({f"books/a#{i}": text for i, text in enumerate(some)} for some in texts)
    return first, second


def expected(old: dict[str, Texts], new: Texts, seed: int = 1) -> dict[str, tuple]:
    """Return (kind, survivor, its build) of each document of `new` that goes, one by one.

    `old` are the documents left of earlier builds, by folder; no two of them may be alike.
    """
    texts = {(folder, key): text for folder in old for key, text in old[folder].items()}
    texts |= {(None, key): text for key, text in new.items()}
    texts = {key: text for key, text in texts.items() if words(text)}

    def rank(key) -> tuple[bool, int]:
        return key[0] is None, hash_string(key[1], seed)

    groups: dict[str, list] = {}
    for key, text in texts.items():
        groups.setdefault(" ".join(words(text)), []).append(key)
    exact = {
        key: min(group, key=rank)
        for group in groups.values()
        for key in group
        if key[0] is None and key != min(group, key=rank)
    }
    left = {key: text for key, text in texts.items() if key not in exact}
    pairs = [pair for pair in near_pairs(left, 0.8) if None in (pair[0][0], pair[1][0])]
    near = {}
    for cluster in clusters(pairs):
        kept = min(cluster, key=rank)
        near |= {key: kept for key in cluster if key[0] is None and key != kept}
    found = {key[1]: ("near", *kept[::-1]) for key, kept in near.items()}
    for key, kept in exact.items():
        found[key[1]] = ("exact", *near.get(kept, kept)[::-1])
    return found


def found(root: Path) -> dict[str, tuple]:
    return {
        r["id"]: (r["kind"], r["survivor"], r["survivor_build"]) for r in read(root, "duplicates")
    }


def left_of(root: Path, texts: Texts) -> Texts:
    return {key: text for key, text in texts.items() if key not in dropped(root)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A batch that has kept its shingles, and the next one deduplicated against it."""
    root = tmp_path_factory.mktemp("against")
    first, second = batches(1)
    build(root / "a", first, keep_shingles=True)
    before = digest(root / "a")
    manifest = build(root / "b", second, against=(str(root / "a"),))
    assert digest(root / "a") == before
    return root, first, second, manifest


def test_equals_brute_force(built):
    root, first, second, manifest = built
    old = {str(root / "a"): left_of(root / "a", first)}
    want = expected(old, second)
    assert found(root / "b") == want
    across = [kept for kept in want.values() if kept[2] is not None]
    assert len(across) > 30
    assert {kind for kind, _, _ in across} == {"exact", "near"}
    assert {kind for kind, _, folder in want.values() if folder is None} == {"exact", "near"}
    assert manifest["counts"]["of_earlier"] == len(across)
    assert manifest["counts"]["documents"] == len(second)


def test_each_near_duplicate_names_its_most_similar_partner(built):
    root, first, second, _ = built
    folder = str(root / "a")
    texts = {(folder, key): text for key, text in left_of(root / "a", first).items()}
    texts |= {(None, key): text for key, text in second.items()}
    sets = {key: shingles(text) for key, text in texts.items()}
    exact = {r["id"] for r in read(root / "b", "dropped/exact")}
    builds = set()
    for row in read(root / "b", "duplicates"):
        partner = row["partner_build"], row["partner"]
        own = sets[None, row["id"]]
        assert jaccard(own, sets[partner]) == row["jaccard"]
        if row["kind"] == "near":
            others = [
                k for k in sets if k != (None, row["id"]) and not (not k[0] and k[1] in exact)
            ]
            assert row["jaccard"] == max(jaccard(own, sets[key]) for key in others)
            builds.add(row["partner_build"])
    assert builds == {None, folder}
    partners = {r["id"]: (r["partner"], r["detail"]) for r in read(root / "b", "dropped/near")}
    assert partners == {
        r["id"]: (r["partner"], r["partner_build"])
        for r in read(root / "b", "duplicates")
        if r["kind"] == "near"
    }


def test_why_names_the_earlier_build_and_shows_its_text(built, tmp_path):
    root, first, *_ = built
    folder = str(root / "a")
    shutil.copytree(root / "b", tmp_path / "b")
    root = tmp_path
    for path in (root / "b/measured").rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.append_column("text_bytes", [[0] * len(table)]), path)
    (root / "b/config.yaml").write_text(f"output: {root / 'b'}\nsubsets:\n  books: {{input: x}}\n")
    row = next(r for r in read(root / "b", "duplicates") if r["partner_build"] == folder)
    story = explain(root / "b", row["id"])
    assert f"    partner: {row['partner']} of the earlier build {folder}\n" in story
    text = " ".join(first[row["partner"]].split())
    assert f"    its text: '{text[:100]}" in story
    assert f"survivor of its cluster is {row['survivor']} of the earlier build {folder}" in story


def test_same_bytes_with_two_workers(built, tmp_path):
    root, _, second, _ = built
    build(tmp_path / "b", second, workers=2, against=(str(root / "a"),))
    assert digest(tmp_path / "b") == digest(root / "b")


def test_shingles_are_those_of_the_documents_that_are_left(built):
    root, first, *_ = built
    rows = [
        (number, row["row"], row["shingles"])
        for number in range(2)
        for row in pq.read_table(root / f"a/shingles/books/part-{number:05d}.parquet").to_pylist()
    ]
    left = left_of(root / "a", first)
    kept = [
        (number, row, text)
        for number, part in enumerate(parts(first, 2))
        for row, (key, text) in enumerate((d["id"], d["text"]) for d in part)
        if key in left and words(text)
    ]
    assert [r[:2] for r in rows] == [k[:2] for k in kept]
    for (*_, hashes), (*_, text) in zip(rows, kept, strict=True):
        assert hashes == sorted(set(hashes))
        assert len(hashes) == len(shingles(text))


def test_together_the_same_clusters(tmp_path):
    # With one edit each, all of a family are alike: no link leads through a dropped document.
    first, second = batches(2, edits=1)
    build(tmp_path / "a", first, keep_shingles=True)
    build(tmp_path / "b", second, against=(str(tmp_path / "a"),))
    together = {key.replace("a#", "first#"): text for key, text in first.items()}
    together |= {key.replace("a#", "second#"): text for key, text in second.items()}
    build(tmp_path / "both", together)

    def groups(pairs) -> set[frozenset]:
        return {frozenset(cluster) for cluster in clusters(pairs)}

    apart = [
        (r["id"].replace("a#", "first#"), r["survivor"].replace("a#", "first#"))
        for r in read(tmp_path / "a", "duplicates")
    ]
    for row in read(tmp_path / "b", "duplicates"):
        batch = "first#" if row["survivor_build"] else "second#"
        apart.append((row["id"].replace("a#", "second#"), row["survivor"].replace("a#", batch)))
    whole = [(r["id"], r["survivor"]) for r in read(tmp_path / "both", "duplicates")]
    assert groups(apart) == groups(whole)
    assert len(apart) == len(whole) > 60


def test_old_documents_that_a_new_one_links_all_stay(tmp_path):
    # Of 4 x 40 shingles two thirds of a quarter differ on either side: alike with the middle only.
    rng = random.Random(4)
    base = prose(rng, 400)
    left, right = base[:370] + prose(rng, 30), prose(rng, 30) + base[30:]
    texts = [{"books/a#0": " ".join(left)}, {"books/a#0": " ".join(right)}]
    assert near_pairs({"l": texts[0]["books/a#0"], "r": texts[1]["books/a#0"]}, 0.8) == {}
    for name, text in zip("xy", texts, strict=True):
        build(tmp_path / name, text, keep_shingles=True)
    folders = [str(tmp_path / name) for name in "xy"]
    new = {"books/a#0": " ".join(base), "books/a#1": " ".join(edited(rng, base, 1))}
    for order in (folders, folders[::-1]):
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        build(tmp_path / "new", new, against=tuple(order))
        assert {key: row[0] for key, row in found(tmp_path / "new").items()} == {
            "books/a#0": "near",
            "books/a#1": "near",
        }
    assert dropped(tmp_path / "x") == dropped(tmp_path / "y") == set()


def test_the_order_of_folders_does_not_matter(tmp_path):
    first, rest = batches(5)
    second = {key: text for i, (key, text) in enumerate(rest.items()) if i % 2}
    third = {key: text for i, (key, text) in enumerate(rest.items()) if i % 2 == 0}
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    build(tmp_path / "a", first, keep_shingles=True)
    build(tmp_path / "b", second, keep_shingles=True, against=(a,))
    results = []
    for order in ((a, b), (b, a)):
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        build(tmp_path / "c", third, against=order)
        results.append(digest(tmp_path / "c"))
    assert results[0] == results[1]
    old = {a: left_of(tmp_path / "a", first), b: left_of(tmp_path / "b", second)}
    assert found(tmp_path / "c") == expected(old, third)
    assert {row[2] for row in found(tmp_path / "c").values()} >= {a, b}


def test_urls_across_builds(tmp_path):
    def documents(rows):
        return [{"id": f"c4/a#{i}", "url": url, "text": t} for i, (url, t) in enumerate(rows)]

    old = documents([("http://a.org/", "one"), ("http://b.org/", "two"), (None, "no address")])
    new = documents([("https://a.org", "one again"), ("http://c.org/", "two"), (None, "none too")])
    run(tmp_path / "a", {"c4": [old]}, by_url=True, keep_shingles=True)
    against = (str(tmp_path / "a"),)
    manifest = run(tmp_path / "b", {"c4": [new]}, by_url=True, against=against)
    assert found(tmp_path / "b") == {
        "c4/a#0": ("url", "c4/a#0", against[0]),
        "c4/a#1": ("exact", "c4/a#1", against[0]),
    }
    assert (manifest["counts"]["url"], manifest["counts"]["exact"]) == (1, 1)
    # A subset of another name has no address in common with this one.
    books = [{**d, "id": d["id"].replace("c4", "books")} for d in new]
    run(tmp_path / "c", {"books": [books]}, by_url=True, against=against)
    assert set(found(tmp_path / "c")) == {"books/a#1"}


def test_what_the_earlier_build_cleaned_away_or_excepted_does_not_count(tmp_path):
    rng = random.Random(8)
    text = [" ".join(prose(rng, 50)) for _ in range(3)]
    old = {
        "books": [[{"id": f"books/a#{i}", "text": t} for i, t in enumerate(text[:2])]],
        "wikipedia": [[{"id": "wikipedia/a#0", "text": text[2]}]],
    }
    run(tmp_path / "a", old, bad={"books/part-00000": [1]}, keep_shingles=True)
    new = {f"books/b#{i}": t for i, t in enumerate(text)}
    build(tmp_path / "b", new, against=(str(tmp_path / "a"),))
    assert set(found(tmp_path / "b")) == {"books/b#0"}


def test_a_chain_of_earlier_builds_and_one_without_documents(tmp_path):
    texts = {"books/a#0": "one text", "books/a#1": "another"}
    build(tmp_path / "a", texts, keep_shingles=True)
    build(tmp_path / "b", texts, keep_shingles=True, against=(str(tmp_path / "a"),))
    assert dropped(tmp_path / "b") == set(texts)
    folders = (str(tmp_path / "a"), str(tmp_path / "b"))
    build(tmp_path / "c", texts, against=folders)
    assert {row[2] for row in found(tmp_path / "c").values()} == {folders[0]}
    assert run(tmp_path / "d", {"books": [[]]}, against=folders)["counts"]["exact"] == 0


def test_shingles_can_be_kept_later_and_go_when_no_longer_wanted(tmp_path):
    texts, _ = batches(6)
    before = build(tmp_path, texts)
    assert build(tmp_path, texts, keep_shingles=True) == before
    manifest = json.loads((tmp_path / "manifests/shingles.json").read_text())
    assert manifest["counts"]["documents"] == len(
        [t for t in left_of(tmp_path, texts).values() if words(t)]
    )
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "shingles").rglob("*.parquet")}
    build(tmp_path, texts, keep_shingles=True)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    build(tmp_path, texts)
    assert not (tmp_path / "shingles").exists()
    assert not (tmp_path / "manifests/shingles.json").exists()


def test_a_changed_earlier_build_is_noticed(tmp_path):
    first, second = batches(7)
    against = (str(tmp_path / "a"),)
    build(tmp_path / "a", first, keep_shingles=True)
    build(tmp_path / "b", second, against=against)
    fewer = dict(list(first.items())[:20])
    shutil.rmtree(tmp_path / "a")
    build(tmp_path / "a", fewer, keep_shingles=True)
    build(tmp_path / "b", second, against=against)
    assert found(tmp_path / "b") == expected({against[0]: left_of(tmp_path / "a", fewer)}, second)


@pytest.mark.parametrize(
    ("against", "rule", "message"),
    [
        ("nowhere", {}, "there is no folder .*nowhere"),
        (".", {}, "is no build whose deduplication has finished; run `massivetext deduplicate"),
        ("out", {}, "is the output of this build"),
        ("plain", {}, "has kept no shingles.*set `deduplicate.keep_shingles: true`.*plain/config"),
        ("a", {"ngram": 12}, "have ngram 13, and deduplicate.ngram is 12"),
        ("a", {"bands": 16}, "have bands 32, and deduplicate.bands is 16"),
        ("a", {"rows": 4}, "have rows 8, and deduplicate.rows is 4"),
        ("a", {"by_url": True}, "no hashes of URLs; build it with by_url"),
        ("stale", {}, "built only in part since something changed"),
        ("torn", {}, "part-00001.parquet is missing, or not as it was written"),
    ],
)
def test_earlier_builds_that_do_not_fit(unfit, against, rule, message):
    folders = (str(unfit / against),)
    config = measured.config(
        unfit / "out", ["books"], deduplicate=Deduplicate(against=folders, **rule)
    )
    with pytest.raises(ConfigError, match=message):
        earlier.load(config)


def test_a_folder_named_twice(unfit):
    folders = (str(unfit / "a"), str(unfit / "b/../a"))
    config = measured.config(unfit / "out", ["books"], deduplicate=Deduplicate(against=folders))
    with pytest.raises(ConfigError, match="is named twice"):
        earlier.load(config)


def test_spans_that_were_cut_make_no_shingles_stale(built):
    root, *_ = built
    manifests = lineage.load(root / "a")
    upstream = [sha256_json(manifests[name]) for name in ("measure", "clean", "deduplicate")]
    spans = {"key": "", "depends": {"upstream": upstream}}
    assert list(manifests)[-1] == "shingles"
    assert lineage.stale({**manifests, "spans": spans}) == []
    changed = {**manifests["deduplicate"], "changed": True}
    assert lineage.stale({**manifests, "deduplicate": changed}) == ["shingles"]


def test_lost_shingles_are_an_error(tmp_path):
    column = pa.array([[1], []], near.ROW.field("shingles").type)
    numbers = [pa.array(values, pa.uint32()) for values in ([0, 0], [4, 4], [4, 5])]
    rows = pa.table([*numbers, pa.array([1, 0], pa.uint64()), column], schema=near.ROW)
    part = Part("books/part-00000", 1, {"subset": "books", "rows": 9})
    files = Files(tmp_path, tmp_path, Numbering([part]))
    with pytest.raises(StageError, match="were lost"):
        list(near.Verify(files, 0.8).process((0, rows)))


@pytest.fixture(scope="module")
def unfit(tmp_path_factory):
    root = tmp_path_factory.mktemp("unfit")
    texts = {"books/a#0": "one", "books/a#1": "two"}
    build(root / "a", texts, keep_shingles=True)
    build(root / "plain", texts)
    for name in ("stale", "torn"):
        shutil.copytree(root / "a", root / name)
    build(root / "torn", texts, keep_shingles=True)
    (root / "torn/shingles/books/part-00001.parquet").unlink()
    # A change of the rules, and a build up to an earlier stage.
    clean = root / "stale/manifests/clean.json"
    write_json(clean, {**json.loads(clean.read_text()), "changed": True})
    (root / "out").mkdir()
    (root / "b").mkdir()
    return root


def test_no_pair_of_two_old_documents_is_proposed():
    rng = np.random.default_rng(3)
    bands = np.sort(rng.integers(0, 9, 900)).astype(np.uint64)
    bands[:50] = 77
    numbers = rng.permutation(900).astype(np.uint32)
    ranks = rng.integers(0, 1000, 900).astype(np.uint32)
    for first_new in (0, 1, 300, 899, 900):
        pieces, large = propose(bands, ranks, numbers, first_new)
        pairs = np.unique(np.concatenate([np.zeros(0, np.uint64), *pieces]))
        low, high = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
        assert (high >= first_new).all()
        assert (low < high).all()
        missed = buckets = 0
        want = set()
        for band in np.unique(bands):
            members = np.sort(numbers[bands == band]).tolist()
            rank = dict(zip(numbers.tolist(), ranks.tolist(), strict=True))
            centre = min(members, key=lambda n: (rank[n], n))
            crowded = len(members) > ALL_PAIRS
            buckets += crowded and members[-1] >= first_new
            for i, a in enumerate(members):
                for j in range(i + 1, len(members)):
                    if members[j] < first_new:
                        continue
                    if not crowded or centre in (a, members[j]) or j - i <= WINDOW:
                        want.add(a << 32 | members[j])
                    else:
                        missed += 1
        assert set(pairs.tolist()) == want
        assert large == (buckets, missed)
