"""The containment rule against plain Python, and the n-grams that it leaves out."""

from math import log

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import Overlap
from massivetext.containment import ONE, Weights, containment_scores, count_documents, weigh
from massivetext.document import text_buffers
from massivetext.overlap import Tally, jaccard_scores
from massivetext.overlap_hits import find_hits
from massivetext.overlap_index import Index, build_index
from massivetext.overlap_span import matched_spans
from massivetext.shingles import shingle_hashes, sort_unique
from massivetext.test_sets import Item

from . import reference_containment as reference


def words(count, start=0):
    return " ".join(f"w{i}" for i in range(start, start + count))


def index_of(items, n=13):
    return build_index((Item(name, str(i), text) for i, (name, text) in enumerate(items)), n)


def column(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def judge(documents, items, n=13, threshold=0.8, *, others=0):
    """Weigh by `documents` and `others` more that hold nothing; return scores and their sources."""
    index = index_of(items, n)
    hits = find_hits(*column(documents), index, short=True)
    df = np.zeros(len(index.keys), np.uint32)
    count_documents(hits, df)
    weights = weigh(index, df, len(documents) + others)
    tally = Tally.of(index)
    return containment_scores(hits, index, weights, threshold, tally), index, weights, tally


# Few words, so that items share n-grams with documents and with each other.
WORDS = st.sampled_from(["a", "b", "c,", "d"])
DOCUMENT = st.lists(WORDS, max_size=30).map(" ".join)
ITEM = st.tuples(st.sampled_from(["s", "t"]), st.lists(WORDS, max_size=16).map(" ".join))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(DOCUMENT, min_size=1, max_size=6),
    st.lists(ITEM, min_size=1, max_size=8).map(lambda items: sorted(items, key=lambda i: i[0])),
    st.sampled_from([1, 2, 3, 8, 9, 10, 13]),
    st.data(),
)
def test_containment_equals_the_reference(documents, items, n, data):
    if data.draw(st.booleans()):  # plant an item in a document
        documents[0] += " " + data.draw(st.sampled_from(items))[1] + " b"
    expected = reference.containments(documents, items, n)
    threshold = 0.5001
    scores, index, weights, tally = judge(documents, items, n, threshold)
    for row, values in enumerate(expected):
        known = [0.0 if value is None else value for value in values]
        assert scores.value[row] == pytest.approx(max(known), abs=1e-4)
        if scores.item[row] >= 0:
            assert known[scores.item[row]] == pytest.approx(max(known), abs=1e-4)
        assert scores.above[row] == sum(value > threshold for value in known)
    found = [any((row[i] or 0) > threshold for row in expected) for i in range(len(items))]
    assert tally.items.tolist() == found
    for number, name in enumerate(index.set_names):
        of_set = [i for i, (s, _) in enumerate(items) if s == name]
        rows = sum(any((row[i] or 0) > threshold for i in of_set) for row in expected)
        assert tally.documents[number] == rows
    cannot = [row is None for row in expected[0]]
    assert (weights.totals == 0).tolist() == cannot
    assert (weights.too_common(index) | index.too_short | (index.sizes == 0)).tolist() == cannot


@settings(deadline=None, max_examples=100)
@given(st.lists(DOCUMENT, max_size=5), st.lists(ITEM, max_size=6), st.integers(1, 13))
def test_hits_are_the_shared_shingles(documents, items, n):
    index = index_of(sorted(items, key=lambda i: i[0]), n)
    data = column(documents)
    hits = find_hits(*data, index)
    values, starts = sort_unique(*shingle_hashes(*data, n))
    for row in range(len(documents)):
        shingles = values[starts[row] : starts[row + 1]]
        keys = hits.keys[hits.starts[row] : hits.starts[row + 1]]
        assert index.keys[keys].tolist() == np.intersect1d(shingles, index.keys).tolist()
        assert hits.sizes[row] == (len(shingles) if len(keys) else 0)


def test_long_rows_have_every_hit_and_the_right_size():
    rng = np.random.default_rng(1)
    text = " ".join(f"w{i}" for i in rng.integers(0, 40, 30_000))
    parts = text.split()
    items = [("s", " ".join(parts[i : i + 40])) for i in (0, 4080, 4096, 12_000, 29_960)]
    items += [("s", " ".join(parts[i : i + 9])) for i in (4090, 29_991)]
    index = index_of(items, 3)
    hits = find_hits(*column([text]), index)
    values, _ = sort_unique(*shingle_hashes(*column([text]), 3))
    assert index.keys[hits.keys].tolist() == np.intersect1d(values, index.keys).tolist()
    assert hits.sizes.tolist() == [len(values)]
    scores, _, _, tally = judge([text], items, 13)
    assert scores.value.tolist() == [1.0]
    assert tally.items.all()


def test_a_document_with_more_shingles_than_the_table_holds():
    text = words(1_100_000)
    item = words(20, 1_099_900)
    scores, index, _, _ = judge([text], [("s", item)])
    hits = find_hits(*column([text]), index)
    assert hits.sizes.tolist() == [1_100_000 - 12]
    assert scores.value.tolist() == [1.0]


def test_both_sides_of_the_threshold():
    # An item of ten 13-grams; a page with the first k words of it has k - 12 of them.
    item = words(22)
    page = "before " + words(20) + " after"
    scores, *_ = judge([page], [("s", item)])
    assert (scores.value.tolist(), scores.above.tolist()) == ([0.8], [0])
    scores, *_ = judge(["before " + words(21) + " after"], [("s", item)])
    assert (scores.value.tolist(), scores.above.tolist()) == ([0.9], [1])


def test_an_item_inside_a_long_page_is_found_by_containment_alone():
    page = words(400, 1000) + " " + words(60) + " " + words(400, 5000)
    items = [("s", words(60, 90_000)), ("s", words(60))]
    scores, index, _, tally = judge([page, words(500, 7000)], items)
    assert (scores.item.tolist(), scores.value.tolist()) == ([1, -1], [1.0, 0.0])
    assert (tally.documents.tolist(), tally.items.tolist()) == ([1], [False, True])
    jaccard = jaccard_scores(find_hits(*column([page]), index), index, 0.8, Tally.of(index))
    assert jaccard.value.tolist() == [48 / 848]
    assert jaccard.above.tolist() == [0]


@pytest.mark.parametrize(("count", "found"), [(7, False), (8, True), (12, True), (13, True)])
def test_short_items_are_looked_for_by_their_own_length(count, found):
    page = "x y " + words(count) + " z"
    scores, index, weights, _ = judge([page, words(count)], [("s", words(count))], others=1000)
    assert (scores.above > 0).tolist() == [found, found]
    assert index.too_short.tolist() == [not found]
    assert not weights.too_common(index).any()
    # A page that lacks the last word does not hold it.
    scores, *_ = judge(["x y " + words(count - 1) + " z"], [("s", words(count))])
    assert scores.above.tolist() == [0]


def test_short_items_with_one_beginning_are_told_apart():
    items = [("s", words(8) + f" q{i}") for i in range(200)] + [("s", words(8))]
    page = "x " + words(8) + " q17 y"
    scores, _, _, tally = judge([page], items)
    assert np.flatnonzero(tally.items).tolist() == [17, 200]
    assert (scores.item.tolist(), scores.above.tolist()) == ([17], [2])


def test_template_of_a_test_set_weighs_nothing():
    template = words(20)
    items = [("s", f"{template} {words(6, 100 * (i + 1))}") for i in range(4)]
    # Eight n-grams are template; six hold a word of the item's own.
    page = "before " + template + " after"
    scores, _, weights, _ = judge([page], items)
    assert scores.item.tolist() == [-1]
    assert weights.totals.tolist() == [6 * ONE] * 4
    scores, *_ = judge(["x " + items[2][1] + " y"], items)
    assert (scores.item.tolist(), scores.value.tolist()) == ([2], [1.0])
    # In half of the items, or in two of three, it is no template.
    others = [("s", words(20, 10_000 * (i + 1))) for i in range(4)]
    _, _, weights, _ = judge([page], items + others)
    assert weights.totals.tolist() == [14 * ONE] * 4 + [8 * ONE] * 4
    _, _, weights, _ = judge([page], [*items[:2], *others[:1]])
    assert weights.totals.tolist() == [14 * ONE] * 2 + [8 * ONE]
    # Another test set may hold as content what is template here.
    _, _, weights, _ = judge([page], [*items, ("t", template)])
    assert weights.totals.tolist() == [6 * ONE] * 4 + [8 * ONE]


def test_items_of_nothing_but_template_cannot_match():
    items = [("s", words(20))] * 3
    scores, index, weights, _ = judge([words(20)], items)
    assert weights.too_common(index).all()
    assert scores.above.tolist() == [0]
    # The paper's rule still sees them.
    hits = find_hits(*column([words(20)]), index)
    assert jaccard_scores(hits, index, 0.8, Tally.of(index)).above.tolist() == [3]


def test_common_n_grams_weigh_less():
    # Of 16 documents 1, 2, 4 and 16 hold the n-grams of four items of one n-gram each.
    items = [("s", words(13, 100 * i)) for i in range(4)]
    documents = [
        " . ".join(
            f"x{d} {words(13, 100 * i)} y{d}" for i, df in enumerate((1, 2, 4, 16)) if d < df
        )
        for d in range(16)
    ]
    _, index, weights, tally = judge(documents, items)
    order = [int(np.flatnonzero(index.items == i)[0]) for i in range(4)]
    assert (weights.keys[order] / ONE).tolist() == [1.0, 0.75, 0.5, 0.0]
    # Half on average is enough; less is a common passage.
    assert weights.totals.tolist() == [ONE, 3 * ONE // 4, ONE // 2, 0]
    assert weights.too_common(index).tolist() == [False, False, False, True]
    assert tally.items.tolist() == [True, True, True, False]
    assert tally.documents.tolist() == [4]


def test_the_formula_on_an_item_half_of_which_is_common():
    # 10 n-grams in this page alone, 4 in 10 of 100 documents, which weigh a half.
    common = words(16)
    item = common + " " + words(10, 50)
    documents = [common] * 9 + ["x " + item]
    _, _, weights, _ = judge(documents, [("s", item)], others=90)
    weight = round((1 - log(10) / log(100)) * ONE)
    assert weights.totals.tolist() == [10 * ONE + 4 * weight]
    scores, *_ = judge([*documents, "y " + words(10, 50)], [("s", item)], others=89)
    assert scores.value[0] == 4 * weight / (10 * ONE + 4 * weight)
    assert scores.value[9] == 1.0


def test_one_document_and_no_documents():
    index = index_of([("s", words(20))])
    for documents in (0, 1):
        weights = weigh(index, np.full(len(index.keys), documents, np.uint32), documents)
        assert weights.totals.tolist() == [8 * ONE]
    scores = judge(["word", "", "..."], [("s", words(20)), ("s", "word")])[0]
    assert scores.item.tolist() == [-1, -1, -1]


def test_equally_contained_items_go_by_weight_then_by_number():
    page = words(60)
    items = [("s", words(20, 30)), ("s", words(30, 20)), ("t", words(30, 5))]
    scores, _, _, tally = judge([page], items)
    assert (scores.item.tolist(), scores.above.tolist()) == ([1], [3])
    assert tally.documents.tolist() == [1, 1]


def test_saved_weights_and_index_judge_alike(tmp_path):
    documents = ["x " + words(30) + " y " + words(9, 80), words(40, 10)]
    items = [("s", words(20)), ("s", words(9, 80)), ("t", "too short"), ("t", "")]
    expected, index, weights, _ = judge(documents, items)
    index.save(tmp_path / "index")
    weights.save(tmp_path / "weights")
    again = Index.open(tmp_path / "index", 13)
    hits = find_hits(*column(documents), again, short=True)
    scores = containment_scores(
        hits, again, Weights.open(tmp_path / "weights"), 0.8, Tally.of(again)
    )
    for a, b in zip(scores, expected, strict=True):
        assert np.array_equal(a, b)
    assert again.set_names == ("s", "t")
    assert (again.too_short.tolist(), again.wordless) == ([False, False, True, False], 1)


def test_the_span_is_the_longest_run():
    text = f"é\0 «{words(14)}» – {words(20, 50)}!? {words(13)} end"
    item = words(14) + " " + words(20, 50)
    index = index_of([("s", "other"), ("s", item)])
    [[start, end]] = matched_spans(*column([text]), np.array([1]), index).tolist()
    # The dash is no word, so the run goes on across it.
    found = text.encode()[start:end].decode()
    assert found == f"{words(14)}» – {words(20, 50)}"
    # A changed word ends the run; the longer side is shown.
    text = text.replace("w52", "changed")
    [[start, end]] = matched_spans(*column([text]), np.array([1]), index).tolist()
    assert text.encode()[start:end].decode() == words(17, 53)
    assert matched_spans(*column(["none", ""]), np.array([0, 1]), index).tolist() == [[0, 0]] * 2


def test_the_span_of_a_short_item():
    index = index_of([("s", words(9))])
    text = f"A page, with: {words(4)}\n\n{words(5, 4)}."
    [[start, end]] = matched_spans(*column([text]), np.array([0]), index).tolist()
    assert text.encode()[start:end].decode() == f"{words(4)}\n\n{words(5, 4)}"


@pytest.mark.parametrize("value", [1, 1.5, -0.1])
def test_thresholds_that_nothing_can_be_above_are_refused(value):
    with pytest.raises(ValueError, match=r"containment is .* below 1"):
        Overlap(containment=value)
