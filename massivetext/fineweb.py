"""FineWeb's own quality signals (Penedo et al. 2024, section 3.6), measured per document.

`rules` holds them against the thresholds of `config.FineWeb`. FineWeb was made by datatrove, whose
`FineWebQualityFilter` (0.10) says what the paper leaves open; lines and characters are its, to the
point:

- Lines end at a line feed. Those of nothing but white space do not count; the others are not
  stripped, so white space at the end of a line hides its punctuation, and a carriage return does.
- Terminal punctuation is a mark that ends a sentence in any script; a quotation mark or a bracket
  after it is none.
- A short line has at most 30 characters, white space included.
- Of equal lines only the later copies count as repeated, in all characters but line feeds.
- Every line feed counts, those around empty lines too.

One thing differs: datatrove's words are the tokens of a tokenizer (spaCy's for English, where
punctuation is a token of its own), so it sees more words and fewer line feeds per word; ours are
maximal runs of characters that are not white space.
"""

import numba
import numpy as np

from .quality import ratio, readonly
from .repetition_datatrove import bytes_key, clear, find, line_feeds, slots_for
from .scan import padded
from .unicode import SPACE, classes, decode

SHORT_LINE = 30

# First and last code points of the marks that end a sentence: Unicode 15.1's property
# Sentence_Terminal, and the Khmer signs U+17D6, U+17D9 and U+17DA.
# fmt: off
TERMINAL_RANGES = (
    (0x0021, 0x0021), (0x002E, 0x002E), (0x003F, 0x003F), (0x0589, 0x0589), (0x061D, 0x061F),
    (0x06D4, 0x06D4), (0x0700, 0x0702), (0x07F9, 0x07F9), (0x0837, 0x0837), (0x0839, 0x0839),
    (0x083D, 0x083E), (0x0964, 0x0965), (0x104A, 0x104B), (0x1362, 0x1362), (0x1367, 0x1368),
    (0x166E, 0x166E), (0x1735, 0x1736), (0x17D4, 0x17D6), (0x17D9, 0x17DA), (0x1803, 0x1803),
    (0x1809, 0x1809), (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F),
    (0x1B7D, 0x1B7E), (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x203C, 0x203D), (0x2047, 0x2049),
    (0x2E2E, 0x2E2E), (0x2E3C, 0x2E3C), (0x2E53, 0x2E54), (0x3002, 0x3002), (0xA4FF, 0xA4FF),
    (0xA60E, 0xA60F), (0xA6F3, 0xA6F3), (0xA6F7, 0xA6F7), (0xA876, 0xA877), (0xA8CE, 0xA8CF),
    (0xA92F, 0xA92F), (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1), (0xABEB, 0xABEB),
    (0xFE52, 0xFE52), (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E), (0xFF1F, 0xFF1F),
    (0xFF61, 0xFF61), (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89),
    (0x11047, 0x11048), (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6),
    (0x111CD, 0x111CD), (0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C),
    (0x112A9, 0x112A9), (0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7),
    (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946),
    (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8),
    (0x11F43, 0x11F44), (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38),
    (0x16B44, 0x16B44), (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88),
)
# fmt: on

_FIRST = np.array([first for first, _ in TERMINAL_RANGES], np.int64)
_LAST = np.array([last for _, last in TERMINAL_RANGES], np.int64)

# Columns of the kernel's counts.
_CHARACTERS, _WORDS, _LINE_FEEDS = 0, 1, 2
_LINES, _PUNCTUATED, _SHORT, _REPEATED = 3, 4, 5, 6

_LINE_FEED, _BLANK = 10, 32


def signals(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Measure n documents; time is linear in their bytes, memory in the lines of the longest.

    Args:
      data: uint8 UTF-8 bytes.
      offsets: n + 1 int64 offsets into `data`, as from `document.text_buffers`.

    Returns:
      float64 arrays of n values each, all 0 for a document without words (datatrove drops it):
      `punctuated_lines`: share of lines that end in a terminal punctuation mark;
      `short_lines`: share of lines of at most `SHORT_LINE` characters;
      `repeated_line_characters`: of the characters but line feeds, those in repeated lines;
      `newlines`: line feeds / words.
    """
    counts = np.zeros((len(offsets) - 1, 7), np.int64)
    _count(readonly(padded(data)), readonly(offsets), classes(), counts)
    lines = counts[:, _LINES]
    return {
        "punctuated_lines": ratio(counts[:, _PUNCTUATED], lines),
        "short_lines": ratio(counts[:, _SHORT], lines),
        "repeated_line_characters": ratio(counts[:, _REPEATED], counts[:, _CHARACTERS]),
        "newlines": ratio(counts[:, _LINE_FEEDS], counts[:, _WORDS]),
    }


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    signals(np.zeros(0, np.uint8), np.zeros(1, np.int64))


@numba.njit(cache=True, nogil=True)
def _ends_sentence(data, begin, stop):  # type: ignore[no-untyped-def]
    """Return whether the last character of `data[begin:stop]`, not empty, is a terminal mark."""
    i = stop - 1
    while i > begin and (data[i] & 0xC0) == 0x80:
        i -= 1
    point, _ = decode(data, i, stop)
    k = np.searchsorted(_LAST, point)
    return k < len(_LAST) and _FIRST[k] <= point


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, counts):  # type: ignore[no-untyped-def]
    most = 0
    for row in range(len(offsets) - 1):
        most = max(most, line_feeds(data, offsets[row], offsets[row + 1]))
    slots = np.empty(slots_for(most + 1), np.uint64)

    for row in range(len(offsets) - 1):
        i = offsets[row]
        stop = offsets[row + 1]
        out = counts[row]
        out[_LINE_FEEDS] = line_feeds(data, i, stop)
        mask = clear(slots, out[_LINE_FEEDS] + 1)
        while i < stop:
            begin = i
            words = characters = 0
            within_word = False
            while i < stop and data[i] != _LINE_FEED:
                byte = data[i]
                if (byte & 0xC0) != 0x80:
                    characters += 1
                    space = False
                    if byte <= _BLANK:
                        space = classes[byte] == SPACE
                    elif 0xC0 <= byte < 0xE4:
                        # Beyond U+3FFF there is no white space.
                        point, _ = decode(data, i, stop)
                        space = classes[point] == SPACE
                    words += not space and not within_word
                    within_word = not space
                i += 1
            out[_CHARACTERS] += characters
            out[_WORDS] += words
            if words > 0:
                out[_LINES] += 1
                out[_PUNCTUATED] += _ends_sentence(data, begin, i)
                out[_SHORT] += characters <= SHORT_LINE
                key = bytes_key(data, begin, i)
                slot = find(slots, mask, key)
                if slots[slot] == key:
                    out[_REPEATED] += characters
                slots[slot] = key
            i += 1
