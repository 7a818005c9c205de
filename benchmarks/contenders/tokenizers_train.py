"""Trains a byte-level BPE with Hugging Face tokenizers, and writes it as ranks for tiktoken.

Options: `pattern` splits texts, `vocab_size`, `out` is the JSON file of ranks to write: bytes in
hexadecimal, by rank.
"""

import json
from pathlib import Path
from typing import Any

from contender import Document, Stopwatch, main
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers


def _bytes_of_characters() -> dict[str, int]:
    """Which byte each character of a byte-level model stands for (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(options["pattern"]), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    trainer = trainers.BpeTrainer(
        vocab_size=options["vocab_size"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    watch = Stopwatch()
    with watch:
        tokenizer.train_from_iterator((document["text"] for document in documents), trainer)
    table = _bytes_of_characters()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    ranks = [bytes(table[character] for character in piece).hex() for piece, _ in vocabulary]
    Path(options["out"]).write_text(json.dumps(ranks), encoding="utf-8")
    return {**watch.result(), "configuration": "BpeTrainer, byte level"}


main(measure)
