"""The quality and repetition signals in plain Python: obviously right, and slow."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import numpy as np
from hypothesis import strategies as st

from massivetext import unicode

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


# Pieces that the rules treat apart, and white space of every kind, so that random texts repeat.
_PIECES = (
    *("the ", "a", "b", "be ", "To", "#", ".", "..", "...", "…", "•", "-", "*", "—", "– ", "·"),
    *(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000", "\u00a0", "\u2028", "\x85", "\x1c"),
    *("é", "e\u0301", "日本", "שלום", "\0", "😀", "1", "_", "longer-than-8-bytes", "12345678"),
)


@lru_cache(maxsize=1)
def _changed() -> dict[int, None]:
    """Code points to which the running Python's Unicode gives other classes than the table's."""
    return dict.fromkeys(np.flatnonzero(unicode.classes() != unicode.python_classes()).tolist())


def agreed(text: str) -> str:
    """Return `text` without the characters about which the Unicode versions disagree."""
    return text.translate(_changed())


def texts() -> st.SearchStrategy[str]:
    """Texts made of telling pieces, and arbitrary ones."""
    pieces = st.lists(st.sampled_from(_PIECES), max_size=80).map("".join)
    few = st.lists(st.sampled_from(("a ", "bb ", "c\n", "a b\n\n")), max_size=60).map("".join)
    return pieces | few | st.text(st.characters(codec="utf-8")).map(agreed)


def batch(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts as the kernels take them: UTF-8 bytes and offsets."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _strip_punctuation(word: str) -> str:
    while word and unicodedata.category(word[0])[0] in "PS":
        word = word[1:]
    while word and unicodedata.category(word[-1])[0] in "PS":
        word = word[:-1]
    return word


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _paragraphs(text: str) -> list[str]:
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
    return ["\n".join(lines).strip() for lines in paragraphs if lines]


def quality(text: str) -> dict[str, float]:
    words = text.split()
    lines = _lines(text)
    bullets = [
        line
        for line in lines
        if line[0] in "•‣⁃▪▫◦●○■□∙·"
        or (line[0] in "-*–—" and (len(line) == 1 or line[1].isspace()))
    ]
    found = {_strip_punctuation(word).lower() for word in words} & STOP_WORDS
    return {
        "words": len(words),
        "mean_word_length": _ratio(sum(map(len, words)), len(words)),
        "hash_ratio": _ratio(text.count("#"), len(words)),
        "ellipsis_ratio": _ratio(text.count("...") + text.count("…"), len(words)),
        "bullet_lines": _ratio(len(bullets), len(lines)),
        "ellipsis_lines": _ratio(sum(x.endswith(("...", "…")) for x in lines), len(lines)),
        "alphabetic_words": _ratio(sum(any(map(str.isalpha, w)) for w in words), len(words)),
        "stop_words": len(found),
    }


def _characters(text: str) -> int:
    return sum(map(len, text.split()))


def _duplicates(items: list[str], total: int) -> tuple[float, float]:
    counts = Counter(items)
    duplicates = [item for item in items if counts[item] > 1]
    return _ratio(len(duplicates), len(items)), _ratio(sum(map(_characters, duplicates)), total)


def _covered(words: list[str], starts: list[int], n: int) -> int:
    return sum(len(words[i]) for i in {start + k for start in starts for k in range(n)})


def repetition(text: str) -> dict[str, float]:
    words = text.split()
    total = _characters(text)
    out = {}
    out["duplicate_lines"], line_characters = _duplicates(_lines(text), total)
    out["duplicate_paragraphs"], paragraph_characters = _duplicates(_paragraphs(text), total)
    out["duplicate_line_characters"] = line_characters
    out["duplicate_paragraph_characters"] = paragraph_characters
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts = Counter(grams)
        if n <= 4:
            starts = []
            if counts and max(counts.values()) > 1:
                # Most frequent, then longest, then first in the text: `max` keeps the first.
                top = max(counts, key=lambda gram: (counts[gram], sum(map(len, gram))))
                starts = [i for i, gram in enumerate(grams) if gram == top]
            out[f"top_{n}gram"] = _ratio(_covered(words, starts, n), total)
        else:
            starts = [i for i, gram in enumerate(grams) if counts[gram] > 1]
            out[f"duplicate_{n}gram"] = _ratio(_covered(words, starts, n), total)
    return out


def matched_phrase(text: str, phrases: list[str]) -> str | None:
    """Return the phrase of `phrases` that starts first in `text`, the longest of those."""
    text = text.lower()
    best: tuple[int, int, str] | None = None
    for phrase in phrases:
        pattern = _phrase_pattern(phrase.lower())
        match = re.search(pattern, text)
        if match:
            candidate = (match.start(), -len(phrase), phrase)
            best = candidate if best is None or candidate < best else best
    return best[2] if best else None


def _phrase_pattern(phrase: str) -> str:
    inside = r"\s+".join(map(re.escape, phrase.split()))
    before = r"(?<![^\W_])" if phrase[0].isalnum() else ""
    after = r"(?![^\W_])" if phrase[-1].isalnum() else ""
    return before + inside + after
