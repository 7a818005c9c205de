"""C4's rules in plain Python: obviously right, and slow."""

import re

from massivetext.c4 import POLICIES
from massivetext.config import C4
from massivetext.sentences import ABBREVIATIONS

_MARKER = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", re.IGNORECASE | re.ASCII)
_LETTERS = re.compile(r"[A-Za-z.]*\Z")


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _abbreviated(word: str) -> bool:
    ending = _LETTERS.search(word)[0]
    before = word[: len(word) - len(ending)][-1:]
    if before and (before.isalpha() or before in "0123456789"):
        return False
    parts = ending.split(".")
    if len(parts) == 1:
        return len(ending) == 1 or _lower(ending) in ABBREVIATIONS
    return all(1 <= len(part) <= 2 for part in parts)


def ends_sentence(word: str) -> bool:
    word = word.rstrip("\"')]}’”")
    if word.endswith("."):
        return not _abbreviated(word[:-1])
    return word.endswith(("?", "!"))


def sentences(line: str) -> int:
    return 1 + sum(map(ends_sentence, line.split()[:-1]))


def edit(text: str, settings: C4) -> tuple[str, dict[str, int]]:
    kept = []
    removed = lorem_ipsum = curly_brackets = 0
    for line in text.splitlines():
        clean = _MARKER.sub("", line).strip()
        lower = _lower(clean)
        words = clean.split()
        lorem_ipsum += lower.count("lorem ipsum")
        curly_brackets += clean.count("{") + clean.count("}")
        ends = clean.endswith((".", "!", "?", '"', "”")) and not clean.endswith("...")
        if (
            words
            and len(words) >= settings.min_line_words
            and max(map(len, words)) <= settings.max_word_characters
            and (ends or not settings.terminal_punctuation)
            and not any(phrase in lower for phrase in ("javascript", *POLICIES))
        ):
            kept.append(clean)
        else:
            removed += bool(line.strip())
    return "\n".join(kept), {
        "sentences": sum(map(sentences, kept)),
        "lorem_ipsum": lorem_ipsum,
        "curly_brackets": curly_brackets,
        "removed_lines": removed,
    }
