"""The configuration: frozen, validated classes. `config_file` reads them from YAML.

Defaults are the papers'. Every class checks its own values and raises `ValueError` with a message
that names the field; `config_file` adds the file and the line. Nothing here touches the disk.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from .config_mixture import Mixture
from .config_rules import (
    C4,
    GOPHER,
    NEED_SECTION,
    Classifier,
    FineWeb,
    Language,
    Quality,
    Repetition,
    RuleGroup,
    RuleName,
    Safety,
    Url,
    fraction,
    known,
    positive,
)
from .config_train import Train
from .config_tune import Ablate, Scaling, Tune
from .presets import MODEL_TYPES, TOKENIZERS


class Format(StrEnum):
    """How the records of a subset are stored."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    WARC = "warc"
    WET = "wet"
    FILES = "files"
    MEDIAWIKI = "mediawiki"
    HTML = "html"


class Mask(StrEnum):
    """Personal data that is replaced in the text of a subset."""

    EMAIL = "email"
    IP = "ip"


class Extractor(StrEnum):
    """What turns HTML into text: Gopher's method (ours), or a library of the extra `html`."""

    GOPHER = "gopher"
    TRAFILATURA = "trafilatura"
    RESILIPARSE = "resiliparse"


class Spans(StrEnum):
    """Spans of text of which one copy stays: lines, paragraphs, or windows of three sentences."""

    LINES = "lines"
    PARAGRAPHS = "paragraphs"
    SENTENCES = "sentences"


@dataclass(frozen=True)
class FieldNames:
    """Which field of a JSONL or Parquet record holds what. `html` replaces `text` for markup."""

    text: str = "text"
    html: str = ""
    url: str = "url"
    timestamp: str = "timestamp"


@dataclass(frozen=True)
class Subset:
    """One subset of the corpus: where its records are and which rules they must pass.

    `rules` unset means the papers' choice: language identification for every subset, safety,
    quality and repetition for `massiveweb` only (Gopher, section A.1.1), and none for `github`,
    because a language identifier of prose cannot judge code. `mask` names personal data to replace.
    """

    input: tuple[str, ...]
    format: Format = Format.JSONL
    rules: tuple[RuleName, ...] | None = None
    include: tuple[str, ...] = ("*",)
    mask: tuple[Mask, ...] = ()
    fields: FieldNames = field(default_factory=FieldNames)

    def __post_init__(self) -> None:
        if not self.input:
            raise ValueError("input is empty; give a path or a glob")


@dataclass(frozen=True)
class Extraction:
    """Which extractor reads HTML, and how long a library may take for one page."""

    extractor: Extractor = Extractor.GOPHER
    seconds: float = 10.0

    def __post_init__(self) -> None:
        positive(self, "seconds")


@dataclass(frozen=True)
class Deduplicate:
    """Exact and near-duplicate removal by 13-gram Jaccard (Gopher, A.1.1).

    `by_url` also removes, within a subset, all but one of the documents with one address. `spans`
    also cuts out of what is left all but one copy of each span of at least `span_min_words` words
    (C4: Raffel et al. 2020, section 2.2: three sentences, all from lines of at least 5 words).
    `against` are outputs of earlier builds whose documents all stay: what duplicates one of them is
    removed. They must have kept their shingles (`keep_shingles`, 8 bytes each).
    """

    enabled: bool = True
    by_url: bool = False
    against: tuple[str, ...] = ()
    keep_shingles: bool = False
    spans: Spans | None = None
    span_min_words: int = 5
    ngram: int = 13
    jaccard: float = 0.8
    bands: int = 32
    rows: int = 8
    except_: tuple[str, ...] = ("wikipedia", "github")

    def __post_init__(self) -> None:
        fraction(self, "jaccard")
        positive(self, "ngram", "bands", "rows", "span_min_words")


@dataclass(frozen=True)
class Overlap:
    """Removal of documents that copy a test document (Gopher, A.1.1, 'Test-set filtering').

    Beside the paper's rule, Jaccard above `jaccard`, `containment` also removes documents that hold
    more than that share of a test document, by weight (see `containment`). `wikipedia_titles` are
    files with a title a line (Wikitext-103's): pages of the subset `wikipedia` with such a title
    are removed as well.
    """

    test_sets: tuple[str, ...] = ()
    ngram: int = 13
    jaccard: float = 0.8
    containment: float | None = None
    text_field: str = "text"
    wikipedia_titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fraction(self, "jaccard")
        positive(self, "ngram")
        if self.containment is not None and not 0 <= self.containment < 1:
            raise ValueError(
                f"containment is {self.containment}; what is above it is removed, so it must be at "
                "least 0 and below 1"
            )


@dataclass(frozen=True)
class HeldOut:
    """Documents kept out of training, per subset, for bits per byte: drawn before tokenising."""

    fraction: float = 0.01
    max_documents: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"fraction is {self.fraction}; it must be at least 0 and below 1")
        if self.max_documents < 0:
            raise ValueError("max_documents is negative")


@dataclass(frozen=True)
class Tokenizer:
    """The SentencePiece model: a preset to train, or the path of a `model` to use as it is."""

    preset: str = "chinchilla"
    model_type: str = "bpe"
    vocab_size: int | None = None
    model: str | None = None
    sample_bytes: int = 200_000_000

    def __post_init__(self) -> None:
        known("preset", self.preset, TOKENIZERS)
        known("model_type", self.model_type, MODEL_TYPES)
        positive(self, "sample_bytes")
        if self.vocab_size is not None and not 300 <= self.vocab_size <= 1_000_000:
            raise ValueError(f"vocab_size is {self.vocab_size}; it must be from 300 to 1,000,000")


@dataclass(frozen=True)
class FillInTheMiddle:
    """Documents rewritten so that a decoder learns to fill gaps (Bavarian et al. 2022, section 3).

    Each document of `subsets` (unset: of all) is, with probability `rate`, cut into prefix, middle
    and suffix and stored as prefix, suffix, middle, or, with probability `spm_rate` of those, in
    the order that starts with the suffix. The defaults are the paper's.
    """

    rate: float = 0.5
    spm_rate: float = 0.5
    subsets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        fraction(self, "rate", "spm_rate")
        if self.subsets == ():
            raise ValueError("subsets is empty; name at least one, or leave it out for all")

    def covers(self, subset: str) -> bool:
        return self.subsets is None or subset in self.subsets


@dataclass(frozen=True)
class DeadLetterLimit:
    """A stage fails when more than this share of its records could not be processed."""

    max_fraction: float = 0.01

    def __post_init__(self) -> None:
        fraction(self, "max_fraction")


@dataclass(frozen=True)
class Config:
    """A whole build. See `docs/config.md` for every key."""

    output: str
    subsets: dict[str, Subset]
    seed: int = 1
    extraction: Extraction = field(default_factory=Extraction)
    url: Url | None = None
    language: Language | None = None
    safety: Safety | None = None
    classifier: Classifier | None = None
    quality: Quality = field(default_factory=Quality)
    repetition: Repetition = field(default_factory=Repetition)
    c4: C4 = field(default_factory=C4)
    fineweb: FineWeb = field(default_factory=FineWeb)
    deduplicate: Deduplicate = field(default_factory=Deduplicate)
    overlap: Overlap = field(default_factory=Overlap)
    heldout: HeldOut = field(default_factory=HeldOut)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    fill_in_the_middle: FillInTheMiddle | None = None
    mixture: Mixture = field(default_factory=Mixture)
    train: Train = field(default_factory=Train)
    tune: Tune = field(default_factory=Tune)
    scaling: Scaling = field(default_factory=Scaling)
    ablate: Ablate = field(default_factory=Ablate)
    dead_letters: DeadLetterLimit = field(default_factory=DeadLetterLimit)

    def __post_init__(self) -> None:
        if not self.subsets:
            raise ValueError("subsets is empty; name at least one")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1")

    def rules(self, subset: str) -> tuple[RuleGroup, ...]:
        """Return the rule groups that apply to `subset`, in the order of `RuleGroup`."""
        chosen = self.subsets[subset].rules
        if chosen is not None:
            named = {RuleGroup(name) for name in chosen if name is not RuleName.GOPHER}
            return tuple(
                group
                for group in RuleGroup
                if group in named or (group in GOPHER and RuleName.GOPHER in chosen)
            )
        if subset == "github":
            return ()
        web = (RuleGroup.URL, RuleGroup.SAFETY, RuleGroup.CLASSIFIER)
        groups = {RuleGroup.LANGUAGE, *((*web, *GOPHER) if subset == "massiveweb" else ())}
        return tuple(
            group
            for group in RuleGroup
            if group in groups and (group not in NEED_SECTION or getattr(self, group) is not None)
        )
