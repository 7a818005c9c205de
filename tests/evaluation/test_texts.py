"""Bits per byte of held-out sets, and of text files of any size."""

import gzip
import math
import tracemalloc
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import InputError
from massivetext.evaluation import texts as texts_module
from massivetext.evaluation.likelihood import Request, likelihoods
from massivetext.evaluation.texts import evaluate, evaluate_files, text_parts, windows
from massivetext.shards import Shards
from massivetext.trainer.loss import PADDING
from massivetext.trainer.parameters import dimensions, initialise

from ..trainer import tiny
from .trained_model import CONTEXT, TEXT, trained


def uniform(params):
    """A model of zeros gives every token the same probability: bits per byte are known exactly."""
    return {**params, "final_norm": jnp.zeros_like(params["final_norm"])}


def test_evaluate_says_what_it_left_out(tmp_path, monkeypatch, capsys):
    shards = Shards.open(tiny.write_shards(tmp_path) / "shards")
    size = dimensions(tiny.TRAIN, tiny.VOCAB, tiny.LENGTH)
    loaded = SimpleNamespace(
        shards=shards, size=size, params=initialise(size, 1), precision="float32", batch_size=4
    )
    monkeypatch.setattr(texts_module, "load", lambda root, config: loaded)
    whole = evaluate(tmp_path, tiny.config())
    assert capsys.readouterr().err == ""
    part = evaluate(tmp_path, tiny.config(evaluate_sequences=2))
    assert "books: 2 of 5 sequences; bytes scaled" in capsys.readouterr().err
    assert part["books"] == pytest.approx(whole["books"], rel=0.3)
    shards.manifest["heldout"].clear()
    with pytest.raises(InputError, match=r"no held-out documents in .*: set heldout.fraction"):
        evaluate(tmp_path, tiny.config())


@given(st.lists(st.lists(st.integers(2, 99), max_size=20), max_size=6), st.integers(1, 9))
def test_every_token_of_a_document_is_a_target_once(parts, length):
    rows = list(windows([np.array(part, np.int32) for part in parts], 1, length))
    text = [1, *(token for part in parts for token in part), 1]
    inputs = np.concatenate([row[0] for row in rows])
    targets = np.concatenate([row[1] for row in rows])
    count = len(text) - 1
    assert all(len(row[0]) == len(row[1]) == length for row in rows)
    assert len(rows) == -(-count // length)
    assert inputs[:count].tolist() == text[:-1]
    assert targets[:count].tolist() == text[1:]
    assert (targets[count:] == PADDING).all()


def test_the_loss_of_a_file_is_that_of_its_windows(tmp_path):
    model, texts = trained(), (TEXT, TEXT * 9, "x", "é 中\n\n")
    paths = [tmp_path / str(number) for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode())
    losses = evaluate_files(model, paths)
    assert list(losses) == [str(path) for path in paths]
    for found, text in zip(losses.values(), texts, strict=True):
        seen = [1, *model.tokenizer.encode(text).tolist(), 1]
        starts = range(0, len(seen) - 1, CONTEXT)
        parts = [Request(seen[i : i + 1], seen[i + 1 : i + 1 + CONTEXT]) for i in starts]
        nats = sum(part.nats for part in likelihoods(model, parts))
        assert found.targets == len(seen) - 1
        assert found.text_bytes == len(text.encode())
        assert found.sequences == found.of_sequences == len(parts)
        assert found.loss == pytest.approx(nats / found.targets, rel=1e-5)
        bits = nats / math.log(2) / len(text.encode())
        assert found.bits_per_byte == pytest.approx(bits, rel=1e-5)


def test_what_the_model_knows_costs_fewer_bits(tmp_path):
    (tmp_path / "known").write_text(TEXT * 8)
    (tmp_path / "other.gz").write_bytes(gzip.compress(b"Call me Ishmael. " * 20))
    paths = [tmp_path / "known", tmp_path / "other.gz"]
    known, other = evaluate_files(trained(), paths).values()
    assert known.bits_per_byte < 1 < other.bits_per_byte
    assert other.text_bytes == 17 * 20


@pytest.mark.parametrize(
    ("content", "cuts"),
    [
        (b"ab\ncd\nef", [b"ab\ncd\n", b"ef"]),
        (b"abcdefgh", [b"abcde", b"fgh"]),
        ("aaaa€€".encode(), [b"aaaa", "€".encode(), "€".encode()]),
        ("€€€".encode(), ["€".encode(), "€".encode(), "€".encode()]),
        (b"a", [b"a"]),
        (b"\n\n\n\n\n\n", [b"\n\n\n\n\n\n"]),
        (b"", []),
    ],
)
def test_a_file_is_read_in_parts_that_begin_a_line(tmp_path, monkeypatch, content, cuts):
    monkeypatch.setattr(texts_module, "PART_BYTES", 6)
    monkeypatch.setattr("massivetext.readers.stream.PLAIN_PIECE", 3)
    (tmp_path / "text").write_bytes(content)
    assert [part.encode() for part in text_parts(tmp_path / "text")] == cuts


@given(st.binary(max_size=40), st.text(max_size=30))
def test_parts_are_the_text_or_an_error_that_says_where(tmp_path_factory, raw, text):
    path = tmp_path_factory.mktemp("parts") / "text"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts_module, "PART_BYTES", 6)
        patch.setattr("massivetext.readers.stream.PLAIN_PIECE", 4)
        for content in (raw, text.encode(errors="replace")):
            path.write_bytes(content)
            try:
                expected = content.decode()
            except UnicodeDecodeError as error:
                with pytest.raises(InputError, match=f"is not UTF-8 at byte {error.start} "):
                    list(text_parts(path))
            else:
                assert "".join(text_parts(path)) == expected


def test_files_that_cannot_be_judged(tmp_path):
    for name, content, message in (
        ("empty", b"", "empty is empty; bits per byte need a byte of text"),
        ("cut.gz", gzip.compress(b"x" * 99)[:-9], "cut.gz: gzip data is cut short"),
        ("latin", b"caf\xe9 ol\xe9", r"latin is not UTF-8 at byte 3 \(invalid continuation byte"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            evaluate_files(trained(), [tmp_path / name])
    with pytest.raises(InputError, match=r"cannot open .*none: No such file"):
        evaluate_files(trained(), [tmp_path / "none"])


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(texts_module, "PART_BYTES", 1 << 16)
    path = tmp_path / "long"
    path.write_bytes(b"one line of it\n" * 1_000_000)
    tracemalloc.start()
    try:
        rows = windows((np.zeros(len(part), np.int32) for part in text_parts(path)), 1, 32)
        assert sum(1 for _ in rows) == -(-15_000_001 // 32)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
