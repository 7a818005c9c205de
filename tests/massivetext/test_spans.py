"""Units of text, which of them go, and what a text is without them, against plain Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import Deduplicate, Spans
from massivetext.config_file import parse
from massivetext.cuts import apply_cuts, find_cuts
from massivetext.errors import ConfigError
from massivetext.spans import Kept, find_units, first_copies

from . import reference_spans as reference

WORDS = ["a", "b.", "c", "Mr.", "e.g.", "d?", '"f!"', "’g.’”", "eight888", "nine99999.", "\0", "é."]
GAPS = [" ", " ", "  ", "\n", "\n", "\n\n", "\n \n", "\t", "\r\n", "\u2003", "\u00a0", "\x1c"]
TEXT = st.lists(st.sampled_from(WORDS + GAPS * 2), max_size=40).map("".join)
# Repeated sentences, lines and paragraphs are common in these.
SENTENCE = st.sampled_from(["One is.", "Two is.", "Three?", "Four is not!", "five", "Mr. Six."])
PROSE = st.lists(
    st.tuples(SENTENCE, st.sampled_from([" ", " ", "\n", "\n\n", "\n  ", "\n\n\n"])), max_size=12
).map(lambda pairs: "".join(a + b for a, b in pairs))
TEXTS = st.lists(st.one_of(TEXT, PROSE), max_size=6)
MODES = st.sampled_from(list(Spans))


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def deduplicate(
    texts: list[str], priority: list[int], spans: Spans, min_words: int
) -> tuple[list[str], int, list[bool]]:
    """Return the texts without repeated units, as the stage does; how many; which are empty."""
    array = column(texts)
    units = find_units(array, spans, min_words)
    segments = np.diff(units.first)
    index = (np.arange(len(units.start)) - np.repeat(units.first[:-1], segments)).astype(np.uint32)
    number = np.arange(len(texts), dtype=np.uint32)
    c = units.counts
    order = np.repeat(np.array(priority, np.uint64), segments)[c]
    rows, repeated = first_copies(units.hash0[c], units.hash1[c], order)
    at = rows[repeated]
    kept = Kept(
        units.hash0[c][at], units.hash1[c][at], np.repeat(number, segments)[c][at], index[c][at]
    )
    by, count = kept.removed(units, number)
    cuts = find_cuts(array, units, by)
    cut = apply_cuts(array, cuts.document, cuts.start, cuts.stop)
    cut.validate(full=True)
    return cut.to_pylist(), count, cuts.emptied.tolist()


def found(texts: list[str], spans: Spans) -> list[list[str]]:
    """Return the segments of texts, as texts."""
    units = find_units(column(texts), spans, 1)
    data = "".join(texts).encode()
    every = [data[a:b].decode() for a, b in zip(units.start, units.stop, strict=True)]
    return [every[a:b] for a, b in zip(units.first[:-1], units.first[1:], strict=True)]


def test_what_the_segments_are():
    text = " One is. Two \n is!\n \nMr. Three\n"
    assert found([text, "", "x"], Spans.LINES) == [["One is. Two", "is!", "Mr. Three"], [], ["x"]]
    assert found([text], Spans.PARAGRAPHS) == [["One is. Two \n is!", "Mr. Three"]]
    assert found([text], Spans.SENTENCES) == [["One is.", "Two", "is!", "Mr. Three"]]


@settings(max_examples=300, deadline=None)
@given(TEXTS, MODES, st.integers(1, 8))
def test_segments_are_those_of_the_reference(texts, spans, min_words):
    units = find_units(column(texts), spans, min_words)
    expected = [reference.segments(text, spans) for text in texts]
    assert found(texts, spans) == [
        [text[s.start : s.stop] for s in segments]
        for text, segments in zip(texts, expected, strict=True)
    ]
    for i, segments in enumerate(expected):
        counts = np.flatnonzero(units.counts[units.first[i] : units.first[i + 1]])
        assert counts.tolist() == sorted(reference.units(segments, spans, min_words))
    same = {}
    for i, segments in enumerate(expected):
        for k, unit in reference.units(segments, spans, min_words).items():
            at = units.first[i] + k
            same.setdefault(unit, set()).add((int(units.hash0[at]), int(units.hash1[at])))
    assert all(len(hashes) == 1 for hashes in same.values())
    for half in (0, 1):
        assert len({next(iter(hashes))[half] for hashes in same.values()}) == len(same)


@settings(max_examples=500, deadline=None)
@given(TEXTS, MODES, st.integers(1, 8), st.data())
def test_equals_brute_force(texts, spans, min_words, data):
    priority = data.draw(
        st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts)), "priority"
    )
    cut, count, emptied = deduplicate(texts, priority, spans, min_words)
    expected, expected_count = reference.deduplicate(texts, priority, spans, min_words)
    assert cut == expected
    assert count == expected_count
    empty = [bool(a.split()) and not b.split() for a, b in zip(texts, cut, strict=True)]
    assert emptied == empty


@settings(max_examples=300, deadline=None)
@given(TEXTS, MODES, st.integers(1, 8))
def test_nothing_is_lost_and_nothing_stays_twice(texts, spans, min_words):
    cut, _, _ = deduplicate(texts, [0] * len(texts), spans, min_words)
    before = [reference.segments(text, spans) for text in texts]
    after = [reference.segments(text, spans) for text in cut]
    gone, _ = reference.removed(texts, [0] * len(texts), spans, min_words)
    # What stays is as it was: no two segments run together, and none is torn.
    for old, new, lost in zip(before, after, gone, strict=True):
        assert [s.words for s in new] == [s.words for k, s in enumerate(old) if k not in lost]
    assert {s.words for old in before for s in old} == {s.words for new in after for s in new}
    if spans is not Spans.SENTENCES:
        left = [u for new in after for u in reference.units(new, spans, min_words).values()]
        assert len(left) == len(set(left))
        assert deduplicate(cut, [0] * len(cut), spans, min_words)[0] == cut


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=4), MODES)
def test_any_unicode(texts, spans):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts] * 2
    cut, count, _ = deduplicate(texts, [0] * len(texts), spans, 1)
    assert (cut, count) == reference.deduplicate(texts, [0] * len(texts), spans, 1)


LINE = "a line of five words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"top\n{LINE}\nend", "top\nend"),
        (f"top\n\n{LINE}\n\nend", "top\n\nend"),
        (f"top\n{LINE}\n\nend", "top\n\nend"),
        (f"top\n\n{LINE}\nend", "top\n\nend"),
        (f"top\n\n{LINE}\n\n   end", "top\n\n   end"),
        (f"top\n\n  {LINE}  \n{LINE}\n\n\nend", "top\n\nend"),
        (f"{LINE}\n\nend", "end"),
        (f"{LINE}\n  end\n", "  end\n"),
        (f"top \n\n{LINE}\n", "top"),
        (f" {LINE} \n", ""),
        ("top\na line of four\nend", "top\na line of four\nend"),
    ],
)
def test_the_white_space_that_goes_with_a_line(text, expected):
    first = f"{LINE}\na line of four"
    cut, _, emptied = deduplicate([first, text], [0, 1], Spans.LINES, 5)
    assert cut == [first, expected]
    assert emptied == [False, expected == ""]


def test_sentences_of_one_line():
    first = "One is. Two is. Three is."
    texts = [
        first,
        f"  Aye. {first} Four.\nend",
        f"Bee. {first}  \nend",
        f"Cee.\n{first}\nstop",
        f"Dee. {first}",
        f"Eee. One is.\n  Two is. Three is. Five.\n\n{first}",
    ]
    cut, _, _ = deduplicate(texts, list(range(6)), Spans.SENTENCES, 5)
    assert cut == [
        first,
        "  Aye. Four.\nend",
        "Bee.  \nend",
        "Cee.\nstop",
        "Dee.",
        "Eee.\n  Five.",
    ]


def test_windows_that_overlap_lose_no_sentence():
    second, third, fourth = "Two is it.", "Three is it.", "Four is it."
    texts = [
        f"{second} {third} {fourth}",
        f"One is. {second} {third}",
        f"Zero. One is. {second} {third} {fourth} Five.",
    ]
    # The long text is last: of its windows, the first and the last are in no other text.
    cut, count, emptied = deduplicate(texts, [0, 0, 1], Spans.SENTENCES, 5)
    assert cut == [*texts[:2], "Zero. Five."]
    assert count == 2
    # The second text keeps the window that begins with it, and the first text, after it, the other.
    cut, count, emptied = deduplicate(texts, [2, 0, 1], Spans.SENTENCES, 5)
    assert cut == ["", texts[1], f"Zero. {fourth} Five."]
    assert (count, emptied) == (2, [True, False, False])
    # Every sentence of a window that stays in the long text goes with another one; not one is lost.
    texts = [f"{second} {third} {fourth}", f"Zero. One is. {second} {third} {fourth}", ""]
    texts[2] = f"Zero. One is. {second}"
    cut, _, _ = deduplicate(texts, [0, 1, 2], Spans.SENTENCES, 5)
    assert cut == [texts[0], "Zero. One is.", ""]
    # A sentence five times in a row: its second window covers all but the first.
    assert deduplicate(["So it is. " * 5], [0], Spans.SENTENCES, 5)[0] == ["So it is."]


def test_words_count_to_the_limit_and_case_and_punctuation_do():
    texts = ["One two three four five", "one two three four five", "One two three four five."]
    assert deduplicate(texts, [0, 0, 0], Spans.LINES, 5)[0] == texts
    twice = [texts[0], " One\ttwo\u2003three  four five\r\n"]
    assert deduplicate(twice, [0, 0], Spans.LINES, 5)[0] == [texts[0], ""]
    assert deduplicate(twice, [1, 0], Spans.LINES, 5)[0] == ["", twice[1]]
    assert deduplicate(twice, [0, 0], Spans.LINES, 6)[0] == twice
    # Words are told apart wherever their blocks of eight bytes end.
    near = ["1234567 8", "12345678 ", "1234567\n8", "123456 78", "1234567\0 8"]
    units = find_units(column(near), Spans.PARAGRAPHS, 1)
    assert len(set(units.hash0.tolist())) == len(set(units.hash1.tolist())) == 4
    assert units.hash0[0] == units.hash0[2]


def test_hashes_are_frozen():
    text = "The quick brown fox. It jumps! Over\n\nlazy dogs."
    lines = find_units(column([text]), Spans.LINES, 1)
    windows = find_units(column([text]), Spans.SENTENCES, 1)
    assert [f"{h:016x}" for u in (lines, windows) for h in (u.hash0[0], u.hash1[0])] == [
        "6fe48c4cc7edd511",
        "8bd91d5ced0a8997",
        "e066ff030eecde57",
        "22ce40b45eb4785e",
    ]


def test_slices_and_long_texts():
    texts = ["x " * 100 + "\n" + LINE, LINE, "", LINE]
    array = column(["skipped\n" + LINE, *texts])[1:]
    units = find_units(array, Spans.LINES, 5)
    assert units.counts.tolist() == [True, True, True, True]
    by = np.array([-1, -1, 0, 0])
    cuts = find_cuts(array, units, by)
    assert apply_cuts(array, cuts.document, cuts.start, cuts.stop).to_pylist() == [
        texts[0],
        "",
        "",
        "",
    ]
    assert cuts.start.tolist() == [0, 0]
    assert cuts.stop.tolist() == [len(LINE)] * 2
    assert cuts.emptied.tolist() == [False, True, False, True]


def test_the_config_names_a_kind_of_span():
    text = "output: o\nsubsets: {b: {input: x}}\ndeduplicate: {spans: %s}\n"
    assert parse(text % "lines", "c.yaml").config.deduplicate.spans is Spans.LINES
    assert parse(text % "null", "c.yaml").config.deduplicate.spans is None
    with pytest.raises(ConfigError, match="'line' is unknown; did you mean 'lines'"):
        parse(text % "line", "c.yaml")


@pytest.mark.parametrize("value", [0, -1])
def test_the_config_wants_a_word_at_least(value):
    with pytest.raises(ValueError, match="span_min_words"):
        Deduplicate(span_min_words=value)
