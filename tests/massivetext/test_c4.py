import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import c4
from massivetext.config import C4

from . import reference, reference_c4

ANY = C4(terminal_punctuation=False, min_line_words=0, max_word_characters=10_000)

_PIECES = (
    *(" ", "  ", "\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"),
    *(
        "\u2028",
        "\u2029",
        "\u3000",
        "\u00a0",
        "a ",
        "b c ",
        "one two three four five",
        "é",
        "日",
        "😀",
    ),
    *(".", "?", "!", '"', "”", "’", "“", "'", ")", "]", "[", "...", "…", "{", "}", "\0"),
    *("[1]", "[", "[]", "[12", "[edit]", "[Edit] ", "[citation needed]", "[citation", "[a]"),
    *("lorem ipsum", "Lorem ", "IPSUM", "javascript", "JavaScript", "java", "script"),
    *(
        "use",
        "s",
        " cookies",
        "uses cookies",
        "of ",
        "Cookie ",
        "policy",
        "Privacy ",
        "terms of use",
    ),
    *(
        "Mr. ",
        "e.g. ",
        "U.S. ",
        "Ph.D. ",
        "x. ",
        "it. ",
        "5p.m. ",
        "a..b. ",
        "(vs. ",
        "éa. ",
        "Yes! ",
    ),
)


def texts() -> st.SearchStrategy[str]:
    """Texts made of what the rules treat apart, and arbitrary ones."""
    return st.lists(st.sampled_from(_PIECES), max_size=80).map("".join) | reference.texts()


def edit(text: str, config: C4 = ANY) -> tuple[str, dict[str, int]]:
    edited, signals = c4.edit(pa.array([text], pa.large_string()), config)
    edited.validate(full=True)
    return edited[0].as_py(), {name: int(values[0]) for name, values in signals.items()}


@given(texts(), st.booleans(), st.integers(0, 6), st.sampled_from([0, 3, 5, 1000]))
@settings(max_examples=1000, deadline=None)
def test_kernel_agrees_with_reference(text, terminal, words, characters):
    config = C4(terminal_punctuation=terminal, min_line_words=words, max_word_characters=characters)
    assert edit(text, config) == reference_c4.edit(text, config)


@given(texts())
@settings(max_examples=300, deadline=None)
def test_editing_twice_changes_nothing_more(text):
    once, _ = edit(text, C4())
    # A marker may stand in the remains of another: '[[1]2]'.
    if "[" not in once:
        again, signals = edit(once, C4())
        assert again == once
        assert signals["removed_lines"] == 0


@given(st.lists(texts(), max_size=6), st.integers(0, 3))
@settings(deadline=None)
def test_documents_of_a_batch_do_not_touch(texts, skip):
    column = pa.array(texts, pa.large_string()).slice(skip)
    edited, signals = c4.edit(column, C4())
    assert edited.type == pa.large_string()
    edited.validate(full=True)
    assert edited.to_pylist() == [edit(text, C4())[0] for text in texts[skip:]]
    for name, values in signals.items():
        assert values.dtype == np.int64
        assert values.tolist() == [edit(text, C4())[1][name] for text in texts[skip:]]


def test_string_columns_and_empty_ones():
    edited, signals = c4.edit(pa.array(["One two three four five."]), C4())
    assert edited.to_pylist() == ["One two three four five."]
    edited, signals = c4.edit(pa.array([], pa.large_string()), C4())
    assert len(edited) == 0
    assert all(len(values) == 0 for values in signals.values())
    edited, _ = c4.edit(pa.array(["", "x", ""], pa.large_string()), C4())
    assert edited.to_pylist() == ["", "", ""]


FOUR = "one two three four "


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        (FOUR + "five.", True),
        (FOUR + "five!", True),
        (FOUR + "five?", True),
        (FOUR + 'five"', True),
        (FOUR + "five”", True),
        (FOUR + "five", False),
        (FOUR + "five:", False),
        (FOUR + "five.)", False),
        (FOUR + "five.'", False),
        (FOUR + "five’", False),
        (FOUR + "five“", False),
        (FOUR + "five。", False),
        # An ellipsis is no end, but two periods are.
        (FOUR + "five..", True),
        (FOUR + "five...", False),
        (FOUR + "five....", False),
        (FOUR + "five…", False),
        (FOUR + 'five..."', True),
        # Five words, or more.
        ("one two three four.", False),
        ("one\u3000two\u00a0three \t four five.", True),
        ("one two three four .", True),
        # Up to a thousand characters, whatever they are in bytes.
        (FOUR + "é" * 999 + ".", True),
        (FOUR + "é" * 1000 + ".", False),
        ("x" * 1000 + " two three four five.", True),
        ("x" * 1001 + " two three four five.", False),
        (FOUR + "JavaScript.", False),
        (FOUR + "xjavascriptx.", False),
        (FOUR + "java script.", True),
        (FOUR + "Terms of Use.", False),
        (FOUR + "terms  of use.", True),
        (FOUR + "privacy policy.", False),
        (FOUR + "cookie policy.", False),
        (FOUR + "cookies policy.", True),
        (FOUR + "uses cookies.", False),
        (FOUR + "use of cookies.", False),
        (FOUR + "we reuse cookiesx.", False),
        (FOUR + "use the cookies.", True),
        (FOUR + "use\0cookies.", True),
        (FOUR + "lorem ipsum {.", True),
    ],
)
def test_lines(line, stays):
    text, signals = edit(f"{FOUR} five.\n{line}\nOne last line to keep.", C4())
    kept = [line] if stays else []
    assert text.split("\n") == [FOUR + " five.", *kept, "One last line to keep."]
    assert signals["removed_lines"] == (not stays)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("a[1] b[23]c[] d", "a bc d"),
        ("[edit] a [Citation Needed]", "a"),
        ("[edit ] [citation] [1 [a] [1a]", "[edit ] [citation] [1 [a] [1a]"),
        ("[[1]]", "[]"),
        ("[1\n]", "[1\n]"),
        ("[٣]", "[٣]"),
        ("a\n\n \n b \n", "a\nb"),
        ("a\r\nb\rc\vd\fe\x1cf\x1dg\x1eh\x85i\u2028j\u2029k", "\n".join("abcdefghijk")),
        ("a\x1fb\u3000c", "a\x1fb\u3000c"),
        ("[1]\n[2]\n", ""),
    ],
)
def test_markers_and_line_ends(text, edited):
    assert edit(text)[0] == edited


def test_a_marker_at_the_end_hides_no_punctuation():
    assert edit("So it was in the end. [1]\n[2] \u3000[edit]", C4()) == (
        "So it was in the end.",
        {"sentences": 1, "lorem_ipsum": 0, "curly_brackets": 0, "removed_lines": 1},
    )


def test_the_page_counts_as_it_was():
    text = "Lorem Ipsum lorem ipsum\nlorem  ipsum lorem\nipsum {\n}} A line that stays for sure."
    edited, signals = edit(text, C4())
    assert edited == "}} A line that stays for sure."
    assert signals == {
        "sentences": 1,
        "lorem_ipsum": 2,
        "curly_brackets": 3,
        "removed_lines": 3,
    }


def test_without_terminal_punctuation_ellipses_stay():
    config = C4(terminal_punctuation=False)
    assert edit("One two three four five...\nfour words are few", config)[0] == (
        "One two three four five..."
    )


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("no mark at all", 1),
        ("One. Two! Three? Four", 4),
        ("One.Two.Three", 1),
        ("one. two. three", 3),
        ('He said "No." And "Why?" (And more.) [Yes.] ‘So.’ “Done!” End.', 7),
        ("Mr. Smith, Mrs. Smith (Dr. Smith) and “Prof. Smith met St. Nicholas.", 1),
        ("MR. SMITH. MET", 2),
        ("mister. mrs.x. omr. éMr. 5mr. -mr. x", 6),
        ("J. R. R. Tolkien. É. Zola", 3),
        ("the U.S. and e.g. the Ph.D. at 10 a.m. or 5p.m. in example.com. x", 3),
        ("Well... So. . x", 4),
        ("a.. b.c.. x", 3),
        ("Really?! Yes!!! x", 3),
        ("3. Take 5. x", 3),
        ("He was born in Oct. 1920 vs. Nov. 1921. x", 2),
        ("It is I. x", 1),
        ("Tea, coffee, etc. and more", 2),
        (". x", 2),
        ('" x', 1),
        ("x.» y", 1),
    ],
)
def test_sentences(line, count):
    assert edit(line)[1]["sentences"] == count
    assert reference_c4.sentences(line) == count


@pytest.mark.parametrize("count", [2, 3])
def test_both_sides_of_the_sentence_threshold(count):
    page = "This is a line of one sentence.\n" * count + "This line. Has many. But no end"
    _, signals = edit(page, C4())
    assert signals["sentences"] == count
    assert (signals["sentences"] >= C4().min_sentences) == (count == 3)


def test_ten_megabytes():
    text = "One sentence is on this line. Another one is too [1]. \n" * 200_000
    edited, signals = edit(text, C4())
    assert signals == {
        "sentences": 400_000,
        "lorem_ipsum": 0,
        "curly_brackets": 0,
        "removed_lines": 0,
    }
    assert edited == text.replace("[1]. ", ".")[:-1]
    assert edit("x" * 10_000_000, C4())[1]["removed_lines"] == 1
    assert edit("." * 10_000 + " x", ANY)[1]["sentences"] == 2
    unclosed = "[1 " * 1_000_000 + "x"
    assert edit(unclosed)[0] == unclosed
