"""The card's data: what is counted, against values known by hand or counted slowly."""

import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.data_card import bins, datasheet, files
from massivetext.data_card.compare import compare
from massivetext.data_card.gather import gather
from massivetext.data_card.measured import hosts
from massivetext.data_card.partners import cluster_sizes
from massivetext.data_card.tops import Tops
from massivetext.data_card.training import summary
from massivetext.errors import ConfigError, InputError

from .data_card_build import CONFIG, build, write


def test_bins_hold_their_lower_edge() -> None:
    edges = bins.edges_of("repetition_duplicate_lines")
    assert edges[1] == 0.02
    counts = bins.count(np.array([0.0, 0.0199, 0.02, 0.3, 0.999, 1.0, 7.5]), edges)
    assert {i: n for i, n in enumerate(counts.tolist()) if n} == {0: 2, 1: 1, 15: 1, 49: 1, 50: 2}
    assert bins.count(np.array([0.66], np.float32), edges)[33] == 1
    assert bins.edges_of("quality_words")[:8].tolist() == [0, 1, 2, 4, 5, 8, 11, 16]


@given(st.lists(st.integers(0, 2**39)))
def test_bins_count_as_numpy_does(values: list[int]) -> None:
    edges = bins.LENGTHS
    counts = bins.count(np.array(values, np.int64), edges)
    expected, _ = np.histogram(values, [*edges, 2**62])
    assert counts.tolist() == expected.tolist()


@given(st.lists(st.integers(1, 10**9), min_size=1), st.floats(0, 1))
def test_quantile_is_within_five_percent(values: list[int], share: float) -> None:
    found = bins.quantile(bins.count(np.array(values), bins.LENGTHS), bins.LENGTHS, share)
    exact = sorted(values)[min(len(values) - 1, int(share * len(values)))]
    assert found <= exact <= found * 1.05 + 1


def test_no_documents_have_no_quantile() -> None:
    assert bins.quantile(np.zeros(len(bins.LENGTHS), np.int64), bins.LENGTHS, 0.5) == 0


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1), max_size=6))
def test_tops_are_exact_until_names_are_forgotten(batches: list[list[str]]) -> None:
    exact, few = Tops(("documents",)), Tops(("documents",), limit=4)
    truth: Counter[str] = Counter()
    for batch in batches:
        for tops in (exact, few):
            tops.add(pa.array(batch), documents=np.ones(len(batch), np.int64))
        truth.update(batch)
    rows = [{"name": n, "documents": c} for n, c in truth.items()]
    assert exact.top(100) == sorted(rows, key=lambda r: (-r["documents"], r["name"]))
    assert exact.uncertain == 0
    assert len(few) <= 4
    held = {row["name"]: row["documents"] for row in few.top(100)}
    for name, count in truth.items():
        assert count - few.uncertain <= held.get(name, 0) <= count


def test_tops_skip_what_has_no_name() -> None:
    tops = Tops(("documents",))
    tops.add(pa.array(["a", None]), documents=np.ones(2, np.int64))
    assert tops.top(5) == [{"name": "a", "documents": 1}]


def test_hosts() -> None:
    urls = {
        "https://user:pass@Www.Example.org:8080/a?b#c": "www.example.org",
        "http://[::1]:80/": "[::1]",
        "HTTP://example.org": "example.org",
        "https://example.org?u=http://other.org": "example.org",
        "no address": None,
        "": None,
        None: None,
        "https://" + "a" * 300: "a" * 253,
    }
    assert hosts(pa.array(list(urls))).to_pylist() == list(urls.values())


def test_rules_alone_together_and_first(tmp_path: Path) -> None:
    card = gather(build(tmp_path / "out"))
    assert card["missing"] == []
    web = card["measured"]["massiveweb"]
    assert web["rules"] == {
        "language": {"fail": 2, "alone": 1, "first": 2},
        "min_probability": {"fail": 1, "alone": 0, "first": 0},
        "min_words": {"fail": 2, "alone": 1, "first": 1},
        "max_words": {"fail": 1, "alone": 1, "first": 1},
    }
    assert web["together"]["min_words"] == {"language": 1, "min_probability": 1, "max_words": 0}
    assert (web["documents"], web["left"], web["bytes"]) == (7, 2, 2800)
    assert card["measured"]["books"]["rules"] == {}
    assert card["measured"]["books"]["left"] == 2


def test_histograms_part_kept_from_dropped(tmp_path: Path) -> None:
    card = gather(build(tmp_path / "out"))
    words = card["measured"]["massiveweb"]["signals"]["quality_words"]
    found = {
        edge: (kept, dropped)
        for edge, kept, dropped in zip(words["edges"], words["kept"], words["dropped"], strict=True)
        if kept or dropped
    }
    assert found == {1: (0, 1), 45: (2, 2), 724: (1, 1)}
    assert card["thresholds"]["quality_words"] == [
        {"rule": "min_words", "limit": 50},
        {"rule": "max_words", "limit": 1000},
    ]
    assert "quality_words" not in card["measured"]["books"]["signals"]


def test_languages_hosts_and_lengths(tmp_path: Path) -> None:
    web = gather(build(tmp_path / "out"))["measured"]["massiveweb"]
    [english, german] = web["languages"]
    assert (english["name"], english["documents"], english["left"]) == ("en", 5, 2)
    assert (german["name"], german["documents"], german["left"]) == ("de", 2, 0)
    assert german["bytes"] == 1300
    assert german["probability"] == pytest.approx((0.9 + 0.25) / 2)
    assert web["hosts"]["top"] == [
        {"name": "a.example", "documents": 1, "bytes": 200, "left": 1},
        {"name": "b.example", "documents": 1, "bytes": 600, "left": 0},
    ]
    assert sum(web["lengths"]["read"]) == 7
    assert sum(web["lengths"]["left"]) == 2
    assert web["lengths"]["read_bytes"]["p50"] == 394  # of 400, to within five per cent


def test_batches_and_parts_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = build(tmp_path / "out")
    whole = gather(root)
    small = partial(files.batches, size=2)
    monkeypatch.setattr("massivetext.data_card.files.batches", small)
    assert gather(root) == whole


def test_later_stages(tmp_path: Path) -> None:
    card = gather(build(tmp_path / "out"))
    assert card["duplicates"]["clusters"] == {"near": {"2": 1}}
    assert card["overlaps"]["documents"] == {"t": {"jaccard": 1}}
    [example] = card["overlaps"]["examples"]
    assert (example["id"], example["bytes"], example["jaccard"]) == ("massiveweb/3", 42, 0.875)
    assert card["tokens"]["books"] == {"documents": 1, "text_bytes": 200, "tokens": 50}
    assert [entry["epochs"] for entry in card["mixture"]["subsets"]] == [1.5, 1.5]
    # The keys of the card that the build writes are there as they are.
    assert card["subsets"]["books"]["near"] == {"documents": 2, "bytes": 300}
    assert card["rules"]["massiveweb"] == {"language": 2, "min_words": 1, "max_words": 1}


def test_cluster_sizes_in_any_number_of_passes(tmp_path: Path) -> None:
    clusters = ["a"] * 1 + ["b"] * 2 + ["c"] * 3 + ["d"] * 7 + ["e"] * 6
    rows = [{"cluster": name, "kind": "near"} for name in clusters]
    rows.append({"cluster": "a", "kind": "exact"})
    write(tmp_path / "s" / "part-00000.parquet", pa.Table.from_pylist(rows[::2]))
    write(tmp_path / "t" / "part-00000.parquet", pa.Table.from_pylist(rows[1::2]))
    expected = {"exact": {"2": 1}, "near": {"2": 2, "4": 2, "8": 1}}
    for held in (1, 3, 100):
        assert cluster_sizes(tmp_path, held) == expected
    assert cluster_sizes(tmp_path / "none") == {}


def test_unfinished_builds_say_what_is_missing(tmp_path: Path) -> None:
    card = gather(build(tmp_path / "measure", "measure"))
    assert card["measured"]["massiveweb"]["left"] == 7
    assert card["missing"][0] == "clean has not finished, so the card lacks: what the rules dropped"
    assert len(card["missing"]) == 8
    # What clean will do is in the config.
    assert card["measured"]["massiveweb"]["groups"] == ["language", "quality"]
    card = gather(build(tmp_path / "clean", "clean"))
    assert card["measured"]["massiveweb"]["left"] == 3
    assert "duplicates" not in card
    assert len(card["missing"]) == 7
    (tmp_path / "empty" / "manifests").mkdir(parents=True)
    assert gather(tmp_path / "empty")["subsets"] == {}
    with pytest.raises(ConfigError, match="not the output of a build"):
        gather(tmp_path)


def test_stale_stages_are_left_out(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    path = root / "manifests" / "clean.json"
    path.write_text(path.read_text().replace('"text_bytes": 700', '"text_bytes": 701'))
    card = gather(root)
    assert "tokens" not in card
    assert any(line.startswith("deduplicate was made before") for line in card["missing"])
    # Nor do their drop lists count.
    assert card["measured"]["books"]["left"] == 3


def test_missing_files_and_other_thresholds_are_told(tmp_path: Path) -> None:
    config = CONFIG.replace("min_words: 50", "min_words: 49")
    card = gather(build(tmp_path / "a", config=config))
    [line] = card["missing"]
    assert line.startswith("rules of massiveweb: config.yaml has other thresholds")
    root = build(tmp_path / "b")
    shutil.rmtree(root / "measured" / "books")
    assert "3 documents" in gather(root)["missing"][0]
    root = build(tmp_path / "c", config="nonsense: 1\n")
    card = gather(root)
    assert "config.yaml cannot be used" in card["missing"][0]
    assert card["measured"]["massiveweb"]["rules"] == {}
    root = build(tmp_path / "d")
    path = root / "measured/massiveweb/part-00000.parquet"
    write(path, pq.read_table(path).drop_columns(["quality_words"]))
    assert "signal quality_words was not measured" in gather(root)["missing"][0]


@pytest.mark.parametrize("name", ["measured", "dropped/clean", "overlaps"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    root = build(tmp_path / "out")
    path = root / name / "massiveweb" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{name}/massiveweb/part-00000.parquet cannot be read"):
        gather(root)


def test_datasheet(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    (root / "card.yaml").write_text("purpose: To teach.\nlicences: {books: public domain}\n")
    answers = gather(root)["datasheet"]
    assert answers["purpose"]["written"] == "To teach."
    assert answers["licences"]["written"] == {"books": "public domain"}
    assert answers["contact"]["written"] is answers["contact"]["known"] is None
    assert "10 were read" in answers["instances"]["known"]
    assert list(answers) == list(datasheet.QUESTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("purpos: x", "unknown key 'purpos'; did you mean 'purpose'"),
        ("licences: {book: x}", "no subset 'book'; did you mean 'books'"),
        ("purpose: [a]", "purpose must be a text"),
        ("licences: {books: [a]}", "licences.books must be a text"),
        ("purpose: {books: a}", "purpose must be a text"),
        ("contact:", "contact must be a text"),
        ("- a", "must hold keys"),
        ("purpose: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("purpose: 'a", "cannot read"),
    ],
)
def test_a_wrong_card_yaml_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        datasheet.read(path, ["books"])


def test_compare(tmp_path: Path) -> None:
    this = gather(build(tmp_path / "a"))
    other = gather(build(tmp_path / "b", "clean", CONFIG.replace("min_words: 50", "min_words: 40")))
    tables = compare(this, other)
    assert tables["config"] == [
        {"name": "quality.min_words", "this": 50, "other": 40, "difference": 10}
    ]
    rules = {row["name"]: row["difference"] for row in tables["rules"]}
    assert rules["massiveweb: min_words"] == 1
    assert rules["massiveweb: max_words"] == 0
    training = next(r for r in tables["documents"] if r["name"] == "massiveweb: training")
    assert training == {"name": training["name"], "this": 2, "other": None, "difference": None}


def test_training_summary(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert summary(path) is None
    lines = ['{"step": 0, "bits_per_byte": {"books": 2.5}}']
    for step, milliseconds in ((1, 900.0), (2, 500.0), (3, 250.0), (4, 500.0)):
        row = f'"step": {step}, "tokens": {step * 100}, "loss": 3.5'
        lines.append(f'{{{row}, "milliseconds": {milliseconds}}}')
    path.write_text("\n".join(lines) + '\n{"step": 5, "tok')
    assert summary(path) == {
        "steps": 4,
        "tokens": 400,
        "loss": 3.5,
        "tokens_per_second": 200.0,
        "bits_per_byte": {"books": 2.5},
    }
