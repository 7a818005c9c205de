"""Published presets: mixtures, model sizes, tokenizers. Data only.

Sources: Gopher (arXiv 2112.11446), Tables 1 and 2; Chinchilla (2203.15556), Tables 4, A1, A9; PaLM
(2204.02311), Tables 1 and 2; GPT-3 (2005.14165), Tables 2.1 and 2.2; MT-NLG (2201.11990), Table 2.
"""

import math
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


# How a decoder knows the order of its tokens: Transformer-XL's relative attention (Gopher), rotary
# embeddings (PaLM), a learned vector per position (GPT-3), ALiBi, or not at all.
POSITIONS = ("relative", "rotary", "learned", "alibi", "none")


class ModelShape(NamedTuple):
    """A published decoder. `ffw` is 4 * d_model in every one of these papers.

    `vocab_size` and `context` are those of the paper; a run takes its tokenizer's and its shards'.
    """

    family: str
    layers: int
    heads: int
    kv_size: int
    d_model: int
    learning_rate: float
    vocab_size: int = 32_000
    context: int = 2_048


# Chinchilla, Table A9: millions of parameters -> d_model, kv_size, heads, layers. Six of them have
# heads * kv_size unequal to d_model.
_LADDER = {
    44: (512, 64, 8, 8),
    57: (576, 64, 9, 9),
    74: (640, 64, 10, 10),
    90: (640, 64, 10, 13),
    106: (640, 64, 10, 16),
    117: (768, 64, 12, 12),
    140: (768, 64, 12, 15),
    163: (768, 64, 12, 18),
    175: (896, 64, 14, 14),
    196: (896, 64, 14, 16),
    217: (896, 64, 14, 18),
    251: (1024, 64, 16, 16),
    278: (1024, 64, 16, 18),
    306: (1024, 64, 16, 20),
    425: (1280, 128, 10, 18),
    489: (1280, 128, 10, 21),
    509: (1408, 128, 11, 18),
    552: (1280, 128, 10, 24),
    587: (1408, 128, 11, 21),
    632: (1536, 128, 12, 19),
    664: (1408, 128, 11, 24),
    724: (1536, 128, 12, 22),
    816: (1536, 128, 12, 25),
    893: (1792, 128, 14, 20),
    1_018: (1792, 128, 14, 23),
    1_143: (1792, 128, 14, 26),
    1_266: (2048, 128, 16, 22),
    1_424: (2176, 128, 17, 22),
    1_429: (2048, 128, 16, 25),
    1_593: (2048, 128, 16, 28),
    1_609: (2176, 128, 17, 25),
    1_731: (2304, 128, 18, 24),
    1_794: (2176, 128, 17, 28),
    2_007: (2304, 128, 18, 28),
    2_283: (2304, 128, 18, 32),
    2_298: (2560, 128, 20, 26),
    2_639: (2560, 128, 20, 30),
    2_980: (2560, 128, 20, 34),
    3_530: (2688, 128, 22, 36),
    3_802: (2816, 128, 22, 36),
    4_084: (2944, 128, 22, 36),
    4_516: (3072, 128, 24, 36),
    6_796: (3584, 128, 28, 40),
    9_293: (4096, 128, 32, 42),
    11_452: (4352, 128, 32, 47),
    12_295: (4608, 128, 36, 44),
    12_569: (4608, 128, 32, 47),
    13_735: (4864, 128, 32, 47),
    14_940: (4992, 128, 32, 49),
    16_183: (5120, 128, 40, 47),
}


def _ladder_rate(millions: int) -> float:
    """Return a learning rate for a model of the ladder.

    The paper gives the ends alone, 2e-4 for the smallest and 1.25e-4 for the largest (D.1); between
    them ours is even in the logarithm of the size.
    """
    low, high = min(_LADDER), max(_LADDER)
    return 2e-4 - 0.75e-4 * math.log(millions / low) / math.log(high / low)


def _palm(layers: int, heads: int, d_model: int) -> ModelShape:
    return ModelShape("palm", layers, heads, 256, d_model, 1e-2, vocab_size=256_000)


def _gpt3(layers: int, heads: int, kv_size: int, d_model: int, rate: float) -> ModelShape:
    return ModelShape("gpt3", layers, heads, kv_size, d_model, rate, vocab_size=50_257)


MODELS: dict[str, ModelShape] = {
    "gopher-44m": ModelShape("gopher", 8, 16, 32, 512, 6e-4),
    "gopher-117m": ModelShape("gopher", 12, 12, 64, 768, 6e-4),
    "gopher-417m": ModelShape("gopher", 12, 12, 128, 1536, 2e-4),
    "gopher-1.4b": ModelShape("gopher", 24, 16, 128, 2048, 2e-4),
    "gopher-7.1b": ModelShape("gopher", 32, 32, 128, 4096, 1.2e-4),
    "gopher-280b": ModelShape("gopher", 80, 128, 128, 16384, 4e-5),
    "chinchilla-70b": ModelShape("gopher", 80, 64, 128, 8192, 1e-4),
    **{
        f"chinchilla-{millions}m": ModelShape(
            "gopher", layers, heads, kv_size, d_model, _ladder_rate(millions)
        )
        for millions, (d_model, kv_size, heads, layers) in _LADDER.items()
    },
    "palm-8b": _palm(32, 16, 4096),
    "palm-62b": _palm(64, 32, 8192),
    "palm-540b": _palm(118, 48, 18432),
    "gpt3-125m": _gpt3(12, 12, 64, 768, 6e-4),
    "gpt3-350m": _gpt3(24, 16, 64, 1024, 3e-4),
    "gpt3-760m": _gpt3(24, 16, 96, 1536, 2.5e-4),
    # The table prints 24 heads of 128 here, and a d_model of 5140 for the 13B; only 16 and 5120
    # give the sizes that it prints beside them.
    "gpt3-1.3b": _gpt3(24, 16, 128, 2048, 2e-4),
    "gpt3-2.7b": _gpt3(32, 32, 80, 2560, 1.6e-4),
    "gpt3-6.7b": _gpt3(32, 32, 128, 4096, 1.2e-4),
    "gpt3-13b": _gpt3(40, 40, 128, 5120, 1e-4),
    "gpt3-175b": _gpt3(96, 96, 128, 12288, 0.6e-4),
    "mt_nlg-530b": _gpt3(105, 128, 160, 20480, 5e-5),
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
