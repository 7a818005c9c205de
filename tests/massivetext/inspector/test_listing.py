"""The list of documents against a slow reading of the same folder."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import ConfigError
from massivetext.inspector import catalogue, documents
from massivetext.inspector.documents import Filter, Listing
from massivetext.inspector.states import States

from . import folders


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "statistics"])
def listing(request, tmp_path_factory) -> Listing:
    root = folders.make(tmp_path_factory.mktemp("listed") / "out", request.param)
    found = catalogue.read(root)
    assert found.missing == []
    return Listing(found, States(found))


def everything(listing, wanted, limit=1000, seconds=60.0):
    """Return all pages as one list of (subset, part, row), and how many pages there were."""
    found, cursor, pages, scanned = [], "", 0, -1
    while True:
        page = listing.page(wanted, cursor, limit, seconds)
        assert len(page["documents"]) <= limit
        assert page["of"] >= page["scanned"] > scanned
        found += page["documents"]
        pages, scanned = pages + 1, page["scanned"]
        assert page["complete"] == (page["next"] is None)
        if page["complete"]:
            assert page["scanned"] == page["of"]
            return found, pages
        cursor = page["next"]


def places(found):
    return [(row["subset"], row["part"], row["row"]) for row in found]


def state_of(row):
    for stage, dropped in folders.DROPS.items():
        if row in dropped:
            return "dropped", stage, dropped[row][0]
    return ("heldout" if row in folders.HELDOUT else "kept"), None, None


def slow(wanted):
    """Return what the filter should find, by looking at every document."""
    result = []
    for subset in ("books", "massiveweb"):
        for part in range(2):
            for number, row in enumerate(folders.rows(subset, part)):
                state, stage, rule = state_of(number)
                value = row["text_bytes"] if wanted.signal == "text_bytes" else (
                    row.get(wanted.signal))  # fmt: skip
                texts = (row["id"], row["url"] or "", row["text"])
                if (
                    wanted.subset in ("", subset)
                    and wanted.state in ("all", state)
                    and wanted.stage in ("", stage)
                    and wanted.rule in ("", rule)
                    and (not wanted.signal or (
                        value is not None and wanted.least <= value <= wanted.most))
                    and any(wanted.query.lower() in text.lower() for text in texts)
                ):  # fmt: skip
                    result.append((subset, f"part-{part:05d}", number))
    return result


FILTERS = st.builds(
    Filter,
    subset=st.sampled_from(["", "books", "massiveweb"]),
    state=st.sampled_from(documents.STATES),
    stage=st.sampled_from(["", "", "clean", "near", "overlap"]),
    rule=st.sampled_from(["", "", "min_words", "near_duplicate"]),
    signal=st.sampled_from(["", "quality_words", "text_bytes", "quality_hash_ratio"]),
    least=st.sampled_from([-float("inf"), 0, 50, 110, 1000]),
    most=st.sampled_from([float("inf"), 0, 50, 110, 120]),
    query=st.sampled_from(["", "TEXT 1", "part1", "GROSS", "GROß", "x x x", "/0/", "(", "\0"]),
)


@given(FILTERS, st.integers(1, 7), st.booleans())
def test_pages_together_are_what_a_slow_reading_finds(listing, wanted, limit, hurried):
    found, _ = everything(listing, wanted, limit, 0.0 if hurried else 60.0)
    assert places(found) == slow(wanted)


def test_without_time_every_page_gets_on_and_nothing_is_lost(listing):
    found, pages = everything(listing, Filter(query="text 22"), 50, 0.0)
    assert len(found) == 4
    assert pages >= 4


def test_a_document_of_the_list(listing):
    [row] = listing.page(Filter("books", rule="min_words"), limit=1)["documents"]
    assert row == {
        "id": "books/f0#3", "subset": "books", "part": "part-00000", "row": 3, "state": "dropped",
        "stage": "clean", "rule": "min_words", "value": 7.0, "threshold": 50.0, "bytes": 103,
        "url": "https://example.org/0/3", "excerpt": "Text 3 of PART0, groß x x x",
    }  # fmt: skip
    [row] = listing.page(Filter("books", rule="language"), limit=1)["documents"]
    assert (row["value"], row["threshold"]) == (None, 50.0)


def test_an_id_is_found_by_its_beginning(listing):
    found, _ = everything(listing, Filter(query="massiveweb/f1#2"))
    assert [row["id"] for row in found] == [f"massiveweb/f1#{n}" for n in (2, 20, 21, 22)]


def test_ends_of_a_range_are_inside(listing):
    found, _ = everything(listing, Filter("massiveweb", signal="quality_words", least=50, most=60))
    assert [row["row"] for row in found] == [5, 6, 5, 6]


def test_groups_known_to_be_outside_the_range_are_not_read(listing, monkeypatch):
    wanted = Filter("massiveweb", signal="quality_words", least=205)
    everything(listing, wanted)
    read = []
    whole = documents.tables.batches

    def watched(path, group, columns, *rest):
        read.append((path.stem, group))
        return whole(path, group, columns, *rest)

    monkeypatch.setattr(documents.tables, "batches", watched)
    everything(listing, wanted)
    assert set(read) == {("part-00000", 4), ("part-00001", 4)}


def test_states_of_parts_not_used_for_long_are_made_again(listing):
    states = States(listing.catalogue, held=1)
    parts = listing.catalogue.chosen("")
    first = [states.codes(part).tolist() for part in parts]
    assert [states.codes(part).tolist() for part in parts] == first
    assert len(states._arrays) == 1


@pytest.mark.parametrize(
    "cursor", ["x", "1", "-1.0", "4.0", "0.23", "0.-1", "9" * 50 + ".0", "1.1.1", "٣.0"]
)
def test_a_strange_cursor_is_refused(listing, cursor):
    with pytest.raises(ConfigError, match="begin again"):
        listing.page(Filter(), cursor)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state": "droped"}, "did you mean 'dropped'"),
        ({"signal": "quality_word"}, "did you mean 'quality_words'"),
        ({"signal": "language"}, "not a number"),
    ],
)
def test_a_mistyped_filter_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        Filter(**fields)


def test_an_unknown_subset_is_named(listing):
    with pytest.raises(ConfigError, match="there are books, massiveweb"):
        listing.page(Filter("web"))


def test_half_a_build(tmp_path):
    """What is there is shown, and a line says what is not."""
    root = folders.make(tmp_path / "out")
    for name in ("documents", "overlap", "deduplicate"):
        (root / f"manifests/{name}.json").unlink()
    found = catalogue.read(root)
    assert found.drops == ["clean"]
    assert [line.split()[0] for line in found.missing] == ["deduplicate", "overlap", "documents"]
    assert found.counts("books") == {
        "documents": 46, "bytes": 5106, "kept": 40, "heldout": 0, "dropped": {"clean": 6},
    }  # fmt: skip
    listing = Listing(found, States(found))
    assert len(everything(listing, Filter(state="dropped"))[0]) == 12
    for path in (root / "manifests").iterdir():
        path.unlink()
    (root / "measured/books/part-00001.parquet").write_bytes(b"PAR1 half")
    (root / "config.yaml").unlink()
    found = catalogue.read(root)
    assert [len(parts) for parts in found.parts.values()] == [1, 2]
    assert found.counts("books")["bytes"] == 2553
    assert any("part-00001.parquet cannot be read" in line for line in found.missing)
    assert any("config.yaml" in line for line in found.missing)
    assert len(everything(Listing(found, States(found)), Filter())[0]) == 69


def test_a_part_that_is_gone(tmp_path):
    root = folders.make(tmp_path / "out")
    (root / "measured/books/part-00000.parquet").unlink()
    found = catalogue.read(root)
    assert found.missing == ["measured/books/part-00000.parquet is not there, nor its documents"]
    assert len(everything(Listing(found, States(found)), Filter("books"))[0]) == folders.ROWS


@pytest.mark.parametrize("body", ["[]", "{}", '{"subsets": 3}', "{", '{"subsets": {"a": {}}}'])
def test_manifests_of_another_version(tmp_path, body):
    root = folders.make(tmp_path / "out")
    (root / "manifests/measure.json").write_text(body)
    found = catalogue.read(root)
    assert found.missing
    listing = Listing(found, States(found))
    assert len(everything(listing, Filter("massiveweb"))[0]) == 2 * folders.ROWS


def test_a_stale_stage_is_left_out(tmp_path):
    root = folders.make(tmp_path / "out")
    path = root / "manifests/clean.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"changed": 1}))
    found = catalogue.read(root)
    assert found.drops == ["clean"]
    assert any("deduplicate was made before" in line for line in found.missing)
