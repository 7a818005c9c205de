"""The configuration: frozen, validated classes. `config_file` reads them from YAML.

Defaults are the papers'. Every class checks its own values and raises `ValueError` with a message
that names the field; `config_file` adds the file and the line. Nothing here touches the disk.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from .presets import MIXTURES, MODELS, TOKENIZERS


class Format(StrEnum):
    """How the records of a subset are stored."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    WARC = "warc"
    WET = "wet"
    FILES = "files"
    MEDIAWIKI = "mediawiki"
    HTML = "html"


class RuleGroup(StrEnum):
    """A group of filter rules, in the order in which Gopher applies them."""

    LANGUAGE = "language"
    SAFETY = "safety"
    QUALITY = "quality"
    REPETITION = "repetition"


def _fraction(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it is a fraction, from 0 to 1")


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be more than 0")


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
    because a language identifier of prose cannot judge code.
    """

    input: tuple[str, ...]
    format: Format = Format.JSONL
    rules: tuple[RuleGroup, ...] | None = None
    include: tuple[str, ...] = ("*",)
    fields: FieldNames = field(default_factory=FieldNames)

    def __post_init__(self) -> None:
        if not self.input:
            raise ValueError("input is empty; give a path or a glob")


@dataclass(frozen=True)
class Language:
    """Content filter by fastText language identification (Gopher, A.1.1, 'Content Filtering')."""

    model: str
    keep: tuple[str, ...] = ("en",)
    min_probability: float = 0.5

    def __post_init__(self) -> None:
        _fraction(self, "min_probability")
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
        _fraction(self, "max_probability")
        if self.model is None and self.words is None:
            raise ValueError("safety needs a model (a fastText classifier) or words (a word list)")


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
        _fraction(self, "max_bullet_lines", "max_ellipsis_lines", "min_alphabetic_words")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")


@dataclass(frozen=True)
class Repetition:
    """Thresholds of Gopher's repetition rules (Table A1): a document above any is dropped."""

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

    def __post_init__(self) -> None:
        _fraction(self, *vars(self))


@dataclass(frozen=True)
class Deduplicate:
    """Exact and near-duplicate removal by 13-gram Jaccard (Gopher, A.1.1)."""

    enabled: bool = True
    ngram: int = 13
    jaccard: float = 0.8
    bands: int = 32
    rows: int = 8
    except_: tuple[str, ...] = ("wikipedia", "github")

    def __post_init__(self) -> None:
        _fraction(self, "jaccard")
        _positive(self, "ngram", "bands", "rows")


@dataclass(frozen=True)
class Overlap:
    """Removal of documents that copy a test document (Gopher, A.1.1, 'Test-set filtering').

    `wikipedia_titles` are files with a title a line (Wikitext-103's): pages of the subset
    `wikipedia` with such a title are removed as well.
    """

    test_sets: tuple[str, ...] = ()
    ngram: int = 13
    jaccard: float = 0.8
    text_field: str = "text"
    wikipedia_titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _fraction(self, "jaccard")
        _positive(self, "ngram")


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
    vocab_size: int | None = None
    model: str | None = None
    sample_bytes: int = 200_000_000

    def __post_init__(self) -> None:
        _known("preset", self.preset, TOKENIZERS)
        _positive(self, "sample_bytes")
        if self.vocab_size is not None and not 300 <= self.vocab_size <= 1_000_000:
            raise ValueError(f"vocab_size is {self.vocab_size}; it must be from 300 to 1,000,000")


@dataclass(frozen=True)
class Mixture:
    """Sampling weights per subset and the budget of training tokens."""

    preset: str = "chinchilla"
    weights: dict[str, float] | None = None
    tokens: int = 20_000_000
    sequence_length: int = 2048
    max_epochs: float = 4.0
    shard_sequences: int = 16_384

    def __post_init__(self) -> None:
        _known("preset", self.preset, MIXTURES)
        _positive(self, "tokens", "sequence_length", "max_epochs", "shard_sequences")
        if self.weights is not None:
            total = sum(self.weights.values())
            for name, weight in self.weights.items():
                if not 0 <= weight <= 1:
                    raise ValueError(f"weight of {name} is {weight}; it is a fraction, 0 to 1")
            if abs(total - 1) > 1e-6 and total > 0:
                scaled = ", ".join(f"{n}: {w / total:.6g}" for n, w in self.weights.items())
                raise ValueError(f"weights sum to {total:.6g}, not 1; scaled to one: {{{scaled}}}")
            if total <= 0:
                raise ValueError("every weight is 0")


@dataclass(frozen=True)
class Train:
    """Training of one decoder on the shards. `override` changes dimensions of the preset."""

    model: str = "gopher-44m"
    override: dict[str, int] | None = None
    steps: int = 200
    batch_size: int = 8
    learning_rate: float | None = None
    warmup_steps: int = 1500
    optimizer: str = "adamw"
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    precision: str = "float32"
    checkpoint_every: int = 100
    evaluate_every: int = 0
    evaluate_sequences: int = 64

    def __post_init__(self) -> None:
        _known("model", self.model, MODELS)
        _known("optimizer", self.optimizer, ("adam", "adamw"))
        _known("precision", self.precision, ("float32", "mixed"))
        _positive(self, "steps", "batch_size", "clip_norm", "checkpoint_every")
        for key, value in (self.override or {}).items():
            _known("override", key, ("layers", "d_model", "heads", "kv_size", "ffw"))
            if value <= 0:
                raise ValueError(f"override.{key} is {value}; it must be more than 0")
        if self.warmup_steps < 0 or self.evaluate_every < 0:
            raise ValueError("warmup_steps and evaluate_every must be at least 0")


@dataclass(frozen=True)
class DeadLetterLimit:
    """A stage fails when more than this share of its records could not be processed."""

    max_fraction: float = 0.01

    def __post_init__(self) -> None:
        _fraction(self, "max_fraction")


@dataclass(frozen=True)
class Config:
    """A whole build. See `docs/config.md` for every key."""

    output: str
    subsets: dict[str, Subset]
    seed: int = 1
    language: Language | None = None
    safety: Safety | None = None
    quality: Quality = field(default_factory=Quality)
    repetition: Repetition = field(default_factory=Repetition)
    deduplicate: Deduplicate = field(default_factory=Deduplicate)
    overlap: Overlap = field(default_factory=Overlap)
    heldout: HeldOut = field(default_factory=HeldOut)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    mixture: Mixture = field(default_factory=Mixture)
    train: Train = field(default_factory=Train)
    dead_letters: DeadLetterLimit = field(default_factory=DeadLetterLimit)

    def __post_init__(self) -> None:
        if not self.subsets:
            raise ValueError("subsets is empty; name at least one")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1")

    def rules(self, subset: str) -> tuple[RuleGroup, ...]:
        """Return the rule groups that apply to `subset`, in Gopher's order."""
        chosen = self.subsets[subset].rules
        if chosen is not None:
            return tuple(group for group in RuleGroup if group in chosen)
        if subset == "github":
            return ()
        groups = [RuleGroup.LANGUAGE] if self.language else []
        if subset == "massiveweb":
            groups += [RuleGroup.SAFETY] if self.safety else []
            groups += [RuleGroup.QUALITY, RuleGroup.REPETITION]
        return tuple(groups)


def _known(key: str, value: str, valid: object) -> None:
    from .errors import nearest

    names = list(valid)  # type: ignore[call-overload]
    if value not in names:
        raise ValueError(f"{key} {value!r} is unknown{nearest(value, names)}")
