"""The filter rules' part of the config: which groups there are, and every threshold.

Defaults are the papers'. Each class checks its own values, as in `config`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .errors import nearest


class RuleGroup(StrEnum):
    """A group of filter rules, in the order in which they are applied (Gopher's come in its order).

    `C4` is C4's rules of lines and pages (Raffel et al. 2020, section 2.2), `FINEWEB` those that
    FineWeb adds to Gopher's and C4's (Penedo et al. 2024, section 3.6).
    """

    URL = "url"
    LANGUAGE = "language"
    SAFETY = "safety"
    CLASSIFIER = "classifier"
    QUALITY = "quality"
    REPETITION = "repetition"
    C4 = "c4"
    FINEWEB = "fineweb"


class RuleName(StrEnum):
    """What `rules` of a subset may name: a group, or `gopher` for its two groups of text rules."""

    URL = "url"
    LANGUAGE = "language"
    SAFETY = "safety"
    CLASSIFIER = "classifier"
    QUALITY = "quality"
    REPETITION = "repetition"
    C4 = "c4"
    FINEWEB = "fineweb"
    GOPHER = "gopher"


GOPHER = (RuleGroup.QUALITY, RuleGroup.REPETITION)

# Groups whose signals need a section of the config: a model or a list.
NEED_SECTION = (RuleGroup.URL, RuleGroup.LANGUAGE, RuleGroup.SAFETY, RuleGroup.CLASSIFIER)


class Compat(StrEnum):
    """Another tool whose way of measuring repetition is followed."""

    DATATROVE = "datatrove"


def fraction(owner: object, *names: str) -> None:
    """Raise ValueError unless each named field is from 0 to 1."""
    for name in names:
        value = getattr(owner, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it is a fraction, from 0 to 1")


def positive(owner: object, *names: str) -> None:
    """Raise ValueError unless each named field is above 0."""
    for name in names:
        value = getattr(owner, name)
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be more than 0")


def known(key: str, value: str, valid: Iterable[str]) -> None:
    """Raise ValueError unless `value` of `key` is one of the `valid` names."""
    names = list(valid)
    if value not in names:
        raise ValueError(f"{key} {value!r} is unknown{nearest(value, names)}")


@dataclass(frozen=True)
class Url:
    """Content filter by address: block lists, each a file (or glob) of one entry a line.

    An entry of `domains` blocks that host and every host below it, so a domain blocks its
    subdomains and a subdomain only itself. An entry of `words` blocks an address in which it
    stands as a word of its own.
    """

    domains: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.domains and not self.words:
            raise ValueError("url needs domains or words: files of one entry a line")


@dataclass(frozen=True)
class Language:
    """Content filter by fastText language identification (Gopher, A.1.1, 'Content Filtering')."""

    model: str
    keep: tuple[str, ...] = ("en",)
    min_probability: float = 0.5

    def __post_init__(self) -> None:
        fraction(self, "min_probability")
        if not self.keep:
            raise ValueError("keep is empty; name at least one language, such as en")


@dataclass(frozen=True)
class Safety:
    """Content filter for unsafe pages: a fastText classifier, a word list, or both.

    `model` gives the probability of `label`; `words` is a file of one word or phrase a line, and a
    page that holds any of them is dropped, as C4 does.
    """

    model: str | None = None
    label: str = "unsafe"
    max_probability: float = 0.5
    words: str | None = None

    def __post_init__(self) -> None:
        fraction(self, "max_probability")
        if self.model is None and self.words is None:
            raise ValueError("safety needs a model (a fastText classifier) or words (a word list)")


@dataclass(frozen=True)
class Classifier:
    """Quality filter by a fastText classifier of reference text against raw web text.

    `massivetext train-classifier` makes one. A document is dropped when the probability of `label`
    is below `min_probability`. With `pareto` (GPT-3, appendix A, has 9) it is kept instead when a
    draw from the Pareto (Lomax) distribution of that shape exceeds one minus the probability, so
    that some documents unlike the reference stay; the draw is a seeded hash of the id.
    """

    model: str
    label: str = "reference"
    min_probability: float = 0.5
    pareto: float | None = None

    def __post_init__(self) -> None:
        fraction(self, "min_probability")
        if self.pareto is not None:
            positive(self, "pareto")


@dataclass(frozen=True)
class Quality:
    """Thresholds of Gopher's quality rules (A.1.1, 'Quality Filtering')."""

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3.0
    max_mean_word_length: float = 10.0
    max_hash_ratio: float = 0.1
    max_ellipsis_ratio: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
    min_stop_words: int = 2

    def __post_init__(self) -> None:
        fraction(self, "max_bullet_lines", "max_ellipsis_lines", "min_alphabetic_words")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")


@dataclass(frozen=True)
class Repetition:
    """Thresholds of Gopher's repetition rules (Table A1): a document above any is dropped.

    `compat` measures them as another tool does; see `docs/fidelity.md`.
    """

    max_duplicate_lines: float = 0.30
    max_duplicate_paragraphs: float = 0.30
    max_duplicate_line_characters: float = 0.20
    max_duplicate_paragraph_characters: float = 0.20
    max_top_2gram: float = 0.20
    max_top_3gram: float = 0.18
    max_top_4gram: float = 0.16
    max_duplicate_5gram: float = 0.15
    max_duplicate_6gram: float = 0.14
    max_duplicate_7gram: float = 0.13
    max_duplicate_8gram: float = 0.12
    max_duplicate_9gram: float = 0.11
    max_duplicate_10gram: float = 0.10
    compat: Compat | None = None

    def __post_init__(self) -> None:
        fraction(self, *(name for name in vars(self) if name.startswith("max_")))


@dataclass(frozen=True)
class C4:
    """C4's rules (Raffel et al. 2020, section 2.2; TensorFlow Datasets has the code they used).

    Lines are removed from the text: those that end in no terminal punctuation, have fewer than
    `min_line_words` words or a word of more than `max_word_characters`, or speak of JavaScript or
    of cookies and terms of use. Then the page is dropped by what is left. The word list is
    `safety.words`.
    """

    terminal_punctuation: bool = True
    min_line_words: int = 5
    max_word_characters: int = 1000
    min_sentences: int = 3
    max_lorem_ipsum: int = 0
    max_curly_brackets: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}; it must be at least 0")


@dataclass(frozen=True)
class FineWeb:
    """Thresholds of FineWeb's own rules (Penedo et al. 2024, section 3.6)."""

    min_punctuated_lines: float = 0.12
    max_short_lines: float = 0.67
    max_repeated_line_characters: float = 0.01
    max_newlines: float = 0.3

    def __post_init__(self) -> None:
        fraction(self, *(name for name in vars(self) if name != "max_newlines"))
