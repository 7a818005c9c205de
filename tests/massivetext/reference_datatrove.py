"""What datatrove measures, in plain Python with words between white space: obviously right, slow.

Written from the behaviour of its filters, one sentence of our docstrings after another.
"""

import re
from collections import Counter

from massivetext.fineweb import TERMINAL_RANGES


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _later_copies(parts: list[str]) -> list[str]:
    return [part for i, part in enumerate(parts) if part in parts[:i]]


def _length(parts: list[str]) -> int:
    return sum(map(len, parts))


def _top(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    counts = Counter(grams)
    top = max(grams, key=lambda gram: (counts[gram], -grams.index(gram)))
    return counts[top] * len(top)


def _repeated(words: list[str], n: int) -> int:
    met: list[str] = []
    total = i = 0
    while i + n <= len(words):
        gram = "".join(words[i : i + n])
        if gram in met:
            total += len(gram)
            i += n
        else:
            met.append(gram)
            i += 1
    return total


def repetition(text: str) -> dict[str, float]:
    lines = re.split(r"\n+", text)
    paragraphs = re.split(r"\n\n+", text.strip())
    copied_lines, copied_paragraphs = _later_copies(lines), _later_copies(paragraphs)
    words = text.split()
    out = {
        "duplicate_lines": _ratio(len(copied_lines), len(lines)),
        "duplicate_paragraphs": _ratio(len(copied_paragraphs), len(paragraphs)),
        "duplicate_line_characters": _ratio(_length(copied_lines), len(text)),
        "duplicate_paragraph_characters": _ratio(_length(copied_paragraphs), len(text)),
    }
    for n in range(2, 5):
        out[f"top_{n}gram"] = _ratio(_top(words, n), len(text))
    for n in range(5, 11):
        out[f"duplicate_{n}gram"] = _ratio(_repeated(words, n), len(text))
    return out


def _terminal(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in TERMINAL_RANGES)


def fineweb(text: str) -> dict[str, float]:
    lines = [line for line in text.split("\n") if line.strip()]
    copies = _length(_later_copies(lines))
    return {
        "punctuated_lines": _ratio(sum(_terminal(line[-1]) for line in lines), len(lines)),
        "short_lines": _ratio(sum(len(line) <= 30 for line in lines), len(lines)),
        "repeated_line_characters": _ratio(copies, len(text.replace("\n", ""))),
        "newlines": _ratio(text.count("\n"), len(text.split())),
    }
