"""Published presets: mixtures, model sizes, tokenizers. Data only, no imports.

Sources: Gopher (arXiv 2112.11446), Tables 1 and 2; Chinchilla (2203.15556), Tables 4, A1; PaLM
(2204.02311), Table 2; GPT-3 (2005.14165), Table 2.2; MT-NLG (2201.11990), Table 2.
"""

from typing import NamedTuple

# Sampling proportions per subset, as printed; printed columns that do not sum to one (GPT-3: 1.01,
# MT-NLG: 1.001) are normalised where they are used.
MIXTURES: dict[str, dict[str, float]] = {
    "gopher": {
        "massiveweb": 0.48,
        "books": 0.27,
        "c4": 0.10,
        "news": 0.10,
        "github": 0.03,
        "wikipedia": 0.02,
    },
    "chinchilla": {
        "massiveweb": 0.45,
        "books": 0.30,
        "c4": 0.10,
        "news": 0.10,
        "github": 0.04,
        "wikipedia": 0.01,
    },
    "gpt3": {
        "common_crawl": 0.60,
        "webtext2": 0.22,
        "books1": 0.08,
        "books2": 0.08,
        "wikipedia": 0.03,
    },
    "mt_nlg": {
        "books3": 0.143,
        "openwebtext2": 0.193,
        "stackexchange": 0.057,
        "pubmed_abstracts": 0.029,
        "wikipedia": 0.048,
        "pg19": 0.009,
        "bookcorpus2": 0.010,
        "nih": 0.002,
        "arxiv": 0.014,
        "github": 0.016,
        "pile_cc": 0.094,
        "cc_2020_50": 0.130,
        "cc_2021_04": 0.157,
        "realnews": 0.090,
        "cc_stories": 0.009,
    },
    "palm": {
        "social_media": 0.50,
        "webpages": 0.27,
        "books": 0.13,
        "github": 0.05,
        "wikipedia": 0.04,
        "news": 0.01,
    },
}


class Corpus(NamedTuple):
    """The training run of a paper: its budget, and the tokens there were of each subset."""

    budget: int
    tokens: dict[str, int]


_MASSIVETEXT = {  # Gopher, Table 2, to the billion
    "massiveweb": 506_000_000_000,
    "books": 560_000_000_000,
    "c4": 182_000_000_000,
    "news": 676_000_000_000,
    "github": 422_000_000_000,
    "wikipedia": 4_000_000_000,
}
CORPORA: dict[str, Corpus] = {
    "gopher": Corpus(300_000_000_000, _MASSIVETEXT),
    # Its epochs in Table A1 (1.24 and 3.40) narrow two of those counts: to 506.02 ... 506.5 and
    # 4.112 ... 4.124 billion. The middles stand for them.
    "chinchilla": Corpus(
        1_400_000_000_000,
        {**_MASSIVETEXT, "massiveweb": 506_260_000_000, "wikipedia": 4_118_000_000},
    ),
    "gpt3": Corpus(
        300_000_000_000,
        {
            "common_crawl": 410_000_000_000,
            "webtext2": 19_000_000_000,
            "books1": 12_000_000_000,
            "books2": 55_000_000_000,
            "wikipedia": 3_000_000_000,
        },
    ),
    "mt_nlg": Corpus(
        270_000_000_000,
        {
            "books3": 25_700_000_000,
            "openwebtext2": 14_800_000_000,
            "stackexchange": 11_600_000_000,
            "pubmed_abstracts": 4_400_000_000,
            "wikipedia": 4_200_000_000,
            "pg19": 2_700_000_000,
            "bookcorpus2": 1_500_000_000,
            "nih": 300_000_000,
            "arxiv": 20_800_000_000,
            "github": 24_300_000_000,
            "pile_cc": 49_800_000_000,
            "cc_2020_50": 68_700_000_000,
            "cc_2021_04": 82_600_000_000,
            "realnews": 21_900_000_000,
            "cc_stories": 5_300_000_000,
        },
    ),
    # Tokens of each subset are not given; "exactly one epoch" of the whole is.
    "palm": Corpus(780_000_000_000, {}),
}


class ModelShape(NamedTuple):
    """Dimensions of a decoder; `ffw` is 4 * d_model in every one of these papers."""

    family: str
    layers: int
    heads: int
    kv_size: int
    d_model: int
    learning_rate: float


MODELS: dict[str, ModelShape] = {
    "gopher-44m": ModelShape("gopher", 8, 16, 32, 512, 6e-4),
    "gopher-117m": ModelShape("gopher", 12, 12, 64, 768, 6e-4),
    "gopher-417m": ModelShape("gopher", 12, 12, 128, 1536, 2e-4),
    "gopher-1.4b": ModelShape("gopher", 24, 16, 128, 2048, 2e-4),
    "gopher-7.1b": ModelShape("gopher", 32, 32, 128, 4096, 1.2e-4),
    "gopher-280b": ModelShape("gopher", 80, 128, 128, 16384, 4e-5),
    "chinchilla-70b": ModelShape("gopher", 80, 64, 128, 8192, 1e-4),
}


# How a SentencePiece model chooses its pieces; no paper of these says which.
MODEL_TYPES = ("bpe", "unigram")


class TokenizerPreset(NamedTuple):
    """What a paper says of its SentencePiece model."""

    vocab_size: int
    normalization: str  # SentencePiece's rule name
    split_digits: bool


TOKENIZERS: dict[str, TokenizerPreset] = {
    "gopher": TokenizerPreset(32_000, "nfkc", False),
    "chinchilla": TokenizerPreset(32_000, "identity", False),
    "palm": TokenizerPreset(256_000, "identity", True),
}
