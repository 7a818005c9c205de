"""C4's rules of lines and pages (Raffel et al. 2020, section 2.2): lines go, pages are measured.

`rules` holds the signals against the thresholds of `config.C4`. The code that the authors ran is in
TensorFlow Datasets (`text/c4_utils.py`, `clean_page`). What both say:

- A line must end in a period, an exclamation mark, a question mark or an end quotation mark, and
  have `min_line_words` words.
- A line that holds 'javascript' or one of `POLICIES`, in any case (ASCII's), is removed.
- Citation markers are removed: [1] with any (ASCII) digits, [edit] and [citation needed].
- A page with too few sentences, the phrase 'lorem ipsum' or a curly bracket is dropped.

What only the code says, and we follow: `...` is no end of a line; a line with a word of more than
`max_word_characters` is removed; `[]` is a marker; lines end where `str.splitlines` ends them, are
stripped, and joined with line feeds, so that empty lines disappear. Where the two differ we follow
the paper:

- The end quotation mark is `"`, and `”` too; the code knows only the former.
- Markers are removed in any case, before anything is judged, and the line is stripped afterwards;
  in the code 'So it was. [1]' then ends in a space, and the line goes.
- 'Lorem ipsum' and curly brackets count wherever they are on the page; in the code not on lines
  removed for another reason. Both brackets count; the code looks for `{`.

Sentences are counted in the lines that stay: by the rule of `sentences`; in the code by NLTK's
Punkt, a trained model.
"""

import numba
import numpy as np
import pyarrow as pa

from .config import C4
from .document import text_buffers
from .quality import readonly
from .sentences import closing_quote, ends_sentence, matches, rows
from .unicode import SPACE, classes, decode

LOREM_IPSUM = "lorem ipsum"
JAVASCRIPT = "javascript"
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
MARKERS = ("[edit]", "[citation needed]")

_MARKERS = rows(MARKERS)

# A phrase is looked for at its anchor, a letter that few words hold. They are sorted by anchor, and
# those of a byte are the rows `_FIRST_PHRASE[byte]` to `_FIRST_PHRASE[byte + 1]`.
_ANCHORS = {
    phrase: next(letter for letter in "jvkfp" if letter in phrase)
    for phrase in (LOREM_IPSUM, JAVASCRIPT, *POLICIES)
}
_LISTED = sorted(_ANCHORS, key=_ANCHORS.__getitem__)
_PHRASES = rows(tuple(_LISTED))
_ANCHOR_AT = np.array([phrase.index(_ANCHORS[phrase]) for phrase in _LISTED], np.int64)
_FIRST_PHRASE = np.searchsorted([ord(_ANCHORS[phrase]) for phrase in _LISTED], np.arange(257))
_LOREM_ROW = _LISTED.index(LOREM_IPSUM)

# What a byte may be, as bit flags. Beyond ASCII white space has a lead byte from 0xC2 to 0xE3.
_SPACE, _LINE_END, _MARK, _CURLY, _SQUARE, _ANCHOR = 1, 2, 4, 8, 16, 32
_KINDS = np.zeros(256, np.uint8)
_KINDS[: ord(" ") + 1] = _SPACE
_KINDS[0xC2:0xE4] = _SPACE
# As in str.splitlines, save that '\r\n' are two, with an empty line between.
_LINE_ENDS = np.array(sorted(map(ord, "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")), np.int64)
_KINDS[[chr(point).encode()[0] for point in _LINE_ENDS]] |= np.uint8(_LINE_END)
_KINDS[list(b".?!")] = _MARK
_KINDS[list(b"{}")] = _CURLY
_KINDS[ord("[")] = _SQUARE
for _letter in _ANCHORS.values():
    _KINDS[[ord(_letter), ord(_letter.upper())]] = _ANCHOR

_LINE_FEED, _QUOTE, _PERIOD, _CLOSE = ord("\n"), ord('"'), ord("."), ord("]")
_ZERO, _NINE = ord("0"), ord("9")

# Columns of the kernel's counts.
_SENTENCES, _LOREM_IPSUM, _CURLY_BRACKETS, _REMOVED_LINES = 0, 1, 2, 3


def edit(column: pa.Array, settings: C4) -> tuple[pa.Array, dict[str, np.ndarray]]:
    """Remove lines from n texts, and measure them; time and memory are linear in their bytes.

    Args:
      column: `large_string` (or `string`) array of n texts without nulls.
      settings: which lines stay; the thresholds of pages are not looked at.

    Returns:
      `(edited, signals)`: a `large_string` array of the lines that stay, joined with line feeds,
      and int64 arrays of n values each:
      `sentences`: of the lines that stay;
      `lorem_ipsum`: occurrences on the page as it was, in any case;
      `curly_brackets`: `{` and `}` on the page as it was;
      `removed_lines`: those that did not stay; empty ones do not count.
    """
    data, offsets = text_buffers(column)
    counts = np.zeros((len(column), 4), np.int64)
    edited = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    _edit(
        readonly(data),
        readonly(offsets),
        classes(),
        settings.terminal_punctuation,
        settings.min_line_words,
        settings.max_word_characters,
        edited,
        ends,
        counts,
    )
    array = pa.LargeStringArray.from_buffers(
        len(column), pa.py_buffer(ends), pa.py_buffer(edited[: ends[-1]])
    )
    return array, {
        "sentences": counts[:, _SENTENCES].copy(),
        "lorem_ipsum": counts[:, _LOREM_IPSUM].copy(),
        "curly_brackets": counts[:, _CURLY_BRACKETS].copy(),
        "removed_lines": counts[:, _REMOVED_LINES].copy(),
    }


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    edit(pa.array([""], pa.large_string()), C4())


@numba.njit(cache=True, nogil=True)
def _ends_a_line(point):  # type: ignore[no-untyped-def]
    found = False
    for line_end in _LINE_ENDS:
        found |= line_end == point
    return found


@numba.njit(cache=True, nogil=True)
def _marker(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the width of the citation marker that starts with the bracket at `i`, or 0."""
    k = i + 1
    while k < stop and _ZERO <= data[k] <= _NINE:
        k += 1
    if k < stop and data[k] == _CLOSE:
        return k + 1 - i
    for row in range(len(_MARKERS)):
        if matches(data, i, stop, _MARKERS[row]):
            return np.int64(_MARKERS[row, 0])
    return 0


@numba.njit(cache=True, nogil=True)
def _phrase(text, i, begin, stop):  # type: ignore[no-untyped-def]
    """Return the number of the phrase in `text[begin:stop]` whose anchor is at `i`, or -1."""
    letter = text[i] | 0x20
    for row in range(_FIRST_PHRASE[letter], _FIRST_PHRASE[letter + 1]):
        first = i - _ANCHOR_AT[row]
        if first >= begin and matches(text, first, stop, _PHRASES[row]):
            return row
    return -1


@numba.njit(cache=True, nogil=True)
def _ends_line(text, begin, i):  # type: ignore[no-untyped-def]
    """Return whether the line `text[begin:i]`, not empty, ends in terminal punctuation."""
    if i - begin >= 3:
        if text[i - 1] == _PERIOD and text[i - 2] == _PERIOD and text[i - 3] == _PERIOD:
            return False
        if closing_quote(text, i, 0x9D):
            return True
    return _KINDS[text[i - 1]] == _MARK or text[i - 1] == _QUOTE


@numba.njit(cache=True, nogil=True)
def _inspect(text, begin, stop, classes):  # type: ignore[no-untyped-def]
    """Measure one line.

    Returns:
      `(first, last, words, longest, banned, sentences, lorem_ipsum, curly_brackets)`: where the
      line starts and ends when stripped, its number of words, the characters of its longest,
      whether it holds a phrase for which it goes, and what else is counted.
    """
    i = first = last = begin
    words = longest = sentences = lorem_ipsum = curly_brackets = 0
    banned = False
    ended = True
    while True:
        while i < stop and _KINDS[text[i]] & _SPACE:
            point, width = decode(text, i, stop)
            if classes[point] != SPACE:
                break
            i += width
        if i == stop:
            return first, last, words, longest, banned, sentences, lorem_ipsum, curly_brackets
        if words == 0:
            first = i
        words += 1
        sentences += ended
        word = i
        characters = 0
        marks = False
        while i < stop:
            kind = _KINDS[text[i]]
            if kind:
                if kind & _SPACE:
                    point, _ = decode(text, i, stop)
                    if classes[point] == SPACE:
                        break
                elif kind == _ANCHOR:
                    phrase = _phrase(text, i, begin, stop)
                    lorem_ipsum += phrase == _LOREM_ROW
                    banned |= phrase >= 0 and phrase != _LOREM_ROW
                marks |= kind == _MARK
                curly_brackets += kind == _CURLY
            characters += (text[i] & 0xC0) != 0x80
            i += 1
        last = i
        longest = max(longest, characters)
        ended = marks and ends_sentence(text, word, i, classes)


@numba.njit(cache=True, nogil=True)
def _edit(  # type: ignore[no-untyped-def]
    data, offsets, classes, terminal_punctuation, min_words, max_characters, text, ends, counts
):
    used = 0
    for row in range(len(offsets) - 1):
        i = offsets[row]
        stop = offsets[row + 1]
        out = counts[row]
        page = used
        while i < stop:
            # The line without its markers goes where it would stay: there is room for it, since
            # what stays of the lines before it, each with a line feed, is no longer than they were.
            begin = used + (used > page)
            k = begin
            marked = False
            while i < stop:
                kind = _KINDS[data[i]]
                if kind & _LINE_END:
                    point, width = decode(data, i, stop)
                    if _ends_a_line(point):
                        i += width
                        break
                elif kind == _SQUARE:
                    width = _marker(data, i, stop)
                    if width > 0:
                        marked = True
                        i += width
                        continue
                text[k] = data[i]
                k += 1
                i += 1
            first, last, words, longest, banned, sentences, lorem_ipsum, curly = _inspect(
                text, begin, k, classes
            )
            out[_LOREM_IPSUM] += lorem_ipsum
            out[_CURLY_BRACKETS] += curly
            stays = (
                words >= max(min_words, 1)
                and longest <= max_characters
                and not banned
                and (not terminal_punctuation or _ends_line(text, first, last))
            )
            if stays:
                out[_SENTENCES] += sentences
                if begin > used:
                    text[used] = _LINE_FEED
                for k in range(first, last):
                    text[begin + k - first] = text[k]
                used = begin + last - first
            else:
                out[_REMOVED_LINES] += words > 0 or marked
        ends[row + 1] = used
