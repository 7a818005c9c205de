"""Models that others could have published, and their tokenizer.json, small."""

import io
import json
import math
from functools import cache

import sentencepiece
import tokenizers
from hypothesis import strategies as st

from massivetext.tokenizer.huggingface import to_json
from massivetext.tokenizer.model_file import ModelSpec, PieceType, parse_pieces
from massivetext.tokenizer.model_writer import Piece

from .models import model, texts

KEEP = {
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
}
SYMBOLS = {
    "user_defined_symbols": ["<tag>", "of\u2581the", "<<"],
    "control_symbols": ["<ctl>"],
}
# Settings of models that others have published, small.
SETTINGS = {
    "llama": {"model_type": "bpe", "split_digits": True, **KEEP},
    "gemma": {"model_type": "bpe", **KEEP, "add_dummy_prefix": False, **SYMBOLS},
    "t5": {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "nmt-bpe": {"model_type": "bpe"},
    "nfkc-prefix": {"model_type": "bpe", **KEEP, "normalization_rule_name": "nfkc"},
    "no-fallback": {
        "model_type": "bpe",
        **KEEP,
        "byte_fallback": False,
        "add_dummy_prefix": False,
    },
    "unigram-symbols": {"model_type": "unigram", **KEEP, "add_dummy_prefix": False, **SYMBOLS},
}

WORDS = [
    *"ab eTiHn.\n\t3é日①",
    "  ",
    "the",
    " of the",
    "<tag>",
    "<<",
    "of the",
    "in",
    "\u2581",
    "def ",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)
UNICODE = st.text(max_size=30)


def trained(vocab_size: int = 560, **settings: object) -> bytes:
    out = io.BytesIO()
    lines = (line + "\n /<>_" for text in texts() for line in text.split("\n") if line)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=out,
        vocab_size=vocab_size,
        minloglevel=2,
        num_threads=1,
        **settings,
    )
    return out.getvalue()


@cache
def foreign(name: str) -> bytes:
    return trained(**SETTINGS[name])


@cache
def exported(preset: str, model_type: str = "bpe") -> tokenizers.Tokenizer:
    return hugging_face(to_json(model(preset, model_type), "m")[0])


@cache
def exported_foreign(name: str) -> tokenizers.Tokenizer:
    return hugging_face(to_json(foreign(name), name)[0])


def hugging_face(value: dict) -> tokenizers.Tokenizer:
    loaded = tokenizers.Tokenizer.from_str(json.dumps(value))
    loaded.encode_special_tokens = True
    return loaded


def ids(loaded: tokenizers.Tokenizer, text: str) -> list[int]:
    return loaded.encode(text, add_special_tokens=False).ids


def likelihood(content: bytes, tokens: list[int]) -> float:
    return math.fsum(parse_pieces(content).scores[tokens].tolist())


ROLES = {"unk": "<unk>", "eos": "</s>"}


def special() -> list[Piece]:
    return [Piece("<unk>", type=PieceType.UNKNOWN), Piece("</s>", type=PieceType.CONTROL)]


def spec(**changes: object) -> ModelSpec:
    options = {"model_type": "bpe", "dummy_prefix": False, "remove_extra_whitespaces": False}
    return ModelSpec(**{**options, **changes})  # type: ignore[arg-type]


def plain_bpe(vocab: list[str], merges: list[tuple[str, str]]) -> dict:
    """A tokenizer.json as small as can be; pieces are spelled with real spaces."""
    return {
        "added_tokens": [
            {"id": place, "content": vocab[place], "special": True, **FLAGS} for place in (0, 1)
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": False,
            "vocab": {text: place for place, text in enumerate(vocab)},
            "merges": [list(pair) for pair in merges],
        },
    }


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def llama(content: bytes, prefix: bool = True) -> dict:
    """Our export as Llama's tokenizer.json has it: U+2581, all splits as merges, a prefix."""
    value = to_json(content, "m")[0]
    vocab = {text.replace(" ", "▁"): id_ for text, id_ in value["model"]["vocab"].items()}
    pieces = parse_pieces(content)
    merges = [
        (-pieces.scores[id_], text[:cut] + " " + text[cut:])
        for text, id_ in vocab.items()
        for cut in range(1, len(text))
        if text[:cut] in vocab and text[cut:] in vocab and pieces.types[id_] == PieceType.NORMAL
    ]
    value["model"]["vocab"] = vocab
    value["model"]["merges"] = [merge for _, merge in sorted(merges)]
    value["pre_tokenizer"] = None
    steps = [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    value["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "Prepend", "prepend": "▁"}] * prefix + steps,
    }
    value["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            *strip * prefix,
        ],
    }
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
    }
    return value


def t5(older: bool = False) -> dict:
    """A unigram model as T5's tokenizer.json has it, or had it before Metaspace could split."""
    value = to_json(foreign("t5"), "m")[0]
    table = next(
        step for step in value["normalizer"]["normalizers"] if step["type"] == "Precompiled"
    )
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    value["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            table,
            {"type": "Strip", "strip_left": False, "strip_right": True},
            spaces,
        ],
    }
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    value["pre_tokenizer"] = value["decoder"] = metaspace
    if older:
        value["normalizer"] = table
        steps = [{"type": "WhitespaceSplit"}, metaspace]
        value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    value["model"]["vocab"] = [
        [text.replace(" ", "▁"), score] for text, score in value["model"]["vocab"]
    ]
    return value
