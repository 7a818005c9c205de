"""Training: the same bytes for the same sample, nothing dropped unseen, errors one can act on."""

import subprocess
import sys

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import ConfigError, InputError, StageError
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer import trainer
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.model_file import parse
from massivetext.tokenizer.train import MAX_SENTENCE_BYTES, cut, train, train_model

from .models import VOCAB_SIZE, model, texts, tokenizer

TRAIN = """
import sys
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.train import train_model
texts = sys.stdin.read().split("\\x1e")
print(train_model(texts, TOKENIZERS["chinchilla"], int(sys.argv[1]), sys.argv[2])[1].model_sha256)
"""


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_another_process_trains_the_same_bytes(model_type):
    _, report = train_model(texts(), TOKENIZERS["chinchilla"], VOCAB_SIZE, model_type)
    run = subprocess.run(
        [sys.executable, "-c", TRAIN, str(VOCAB_SIZE), model_type],
        input="\x1e".join(texts()),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert run.stdout.strip() == report.model_sha256
    assert run.stderr == ""


def test_special_pieces_and_settings_of_each_preset():
    for name, preset in TOKENIZERS.items():
        processor = tokenizer(name)._processor
        assert [processor.id_to_piece(i) for i in range(3)] == ["<pad>", "</s>", "<unk>"]
        assert processor.bos_id() == -1
        assert processor.get_piece_size() == VOCAB_SIZE
        assert sum(processor.is_byte(i) for i in range(VOCAB_SIZE)) == 256
        spec = parse(model(name))
        assert (spec.model_type, spec.byte_fallback, spec.keeps_spaces) == ("bpe", True, True)
        assert (spec.normalization, spec.charsmap > b"") == (preset.normalization, name == "gopher")
    assert parse(model("palm", "unigram")).model_type == "unigram"


def test_palm_splits_digits_and_newlines_and_indentation_are_learnt():
    digits = tokenizer("palm")
    assert len(digits.encode("2021")) == 4
    pieces = [digits._processor.id_to_piece(i) for i in range(VOCAB_SIZE)]
    assert "\u2581" * 4 in pieces
    assert any("\n" in piece for piece in pieces)
    assert not any(len(piece) > 1 and any(c.isdigit() for c in piece) for piece in pieces[259:])


def test_the_file_is_the_model_and_the_report_counts_what_was_seen(tmp_path):
    samples = ["a\u2581b\0\u2585c\n" * 3 + "word " * 2000, "", "one two three " * 50]
    report = train(iter(samples), TOKENIZERS["chinchilla"], 275, tmp_path / "m/tokenizer.model")
    content = (tmp_path / "m/tokenizer.model").read_bytes()
    assert report.model_bytes == len(content)
    assert str(tmp_path).encode() not in content
    assert report.samples == 3
    assert report.text_bytes == sum(len(s.encode()) for s in samples)
    assert report.reserved_characters == 9  # U+2581, NUL and U+2585, three times
    assert report.sentence_bytes == report.text_bytes - 3 * 7
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["tokenizer.model"]


def test_no_sentence_is_dropped_by_the_trainer():
    # Each sample would be dropped whole: one by its length, the other by U+2585.
    samples = ["zebra " * 1000, "\u2585 quagga " * 5]
    content, report = train_model(samples, TOKENIZERS["chinchilla"], 276)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert report.sentences > 2
    assert {pieces.id_to_piece(i) for i in range(276)} >= set("zebragqu")


@given(st.text(alphabet="ab \n\u00e9\u4e2d\U0001f600", max_size=60), st.integers(4, 20))
def test_cut_keeps_every_byte_and_every_character_whole(text, limit):
    pieces = list(cut(text.encode(), limit))
    assert b"".join(pieces) == text.encode()
    assert all(1 <= len(piece) <= limit for piece in pieces)
    for piece in pieces:
        piece.decode()


def test_cut_prefers_newlines_then_spaces():
    assert list(cut(b"aa bb\ncc dd", 8)) == [b"aa bb", b"\ncc dd"]
    assert list(cut(b"aaa bbb ccc", 8)) == [b"aaa bbb", b" ccc"]
    assert list(cut(b"x" * 8, 8)) == [b"x" * 8]
    assert list(cut(b"x" * 9, 8)) == [b"x" * 8, b"x"]
    assert MAX_SENTENCE_BYTES < 4192


def test_a_vocabulary_that_cannot_be_says_what_could():
    preset = TOKENIZERS["chinchilla"]
    samples = ["the cat sat on the mat\n" * 20]
    with pytest.raises(
        ConfigError, match=r"vocab_size 5000 is too large .* at most (\d+)"
    ) as caught:
        train_model(samples, preset, 5000)
    largest = int(str(caught.value).split("at most ")[1].split(",")[0])
    assert train_model(samples, preset, largest)[1].vocab_size == largest
    with pytest.raises(ConfigError, match="too large"):
        train_model(samples, preset, largest + 1)
    with pytest.raises(ConfigError, match="vocab_size 260 is too small"):
        train_model(samples, preset, 260)


@pytest.mark.parametrize("samples", [[], ["", "\n\n"], ["\u2581\0\u2585"]])
def test_no_text_is_an_error(samples):
    with pytest.raises(ConfigError, match="no text to train on"):
        train_model(samples, TOKENIZERS["chinchilla"], 300)


def test_errors_of_the_sample_come_through():
    def broken():
        yield "text"
        raise InputError("books.jsonl, record 7")

    with pytest.raises(InputError, match=r"^books\.jsonl, record 7$"):
        train_model(broken(), TOKENIZERS["chinchilla"], 300)
    with pytest.raises(InputError, match="sample 1 holds a lone surrogate at character 2"):
        train_model(["ab\udc00"], TOKENIZERS["chinchilla"], 300)
    with pytest.raises(ConfigError, match="did you mean 'unigram'"):
        train_model(["a"], TOKENIZERS["chinchilla"], 300, "unigrams")


def test_there_is_a_piece_for_the_space_when_the_sample_has_none():
    content, _ = train_model(
        ["\u4e2d\u6587\u6ca1\u6709\u7a7a\u683c\n" * 9], TOKENIZERS["palm"], 270
    )
    encoder = Tokenizer.load_bytes(content, "chinese")
    assert encoder.lossless
    assert encoder.decode(encoder.encode("\u4e2d a  b ")) == "\u4e2d a  b "


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_whoever_watches_sees_the_sample_read_and_the_pieces_found(model_type):
    seen = []
    report = train_model(
        texts(),
        TOKENIZERS["chinchilla"],
        VOCAB_SIZE,
        model_type,
        lambda read, trained: seen.append((read, trained)),
    )[1]
    reading = [read for read, trained in seen if trained == 0]
    assert reading == sorted(reading)
    assert reading[0] < reading[-1] == report.text_bytes
    shares = [trained for _, trained in seen if trained > 0]
    assert shares
    assert all(0 < share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert report.seconds > 0
    assert report.peak_rss_bytes > 1_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_trainer_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(trainer, "PROCESS", script)
    with pytest.raises(StageError, match=r"ended with code -9 .*set tokenizer\.sample_bytes lower"):
        train_model(texts(), TOKENIZERS["chinchilla"], VOCAB_SIZE)


def test_a_model_file_that_is_no_message_is_a_value_error():
    for content in (b"\xff" * 20, b"\x12\xff\x01", b"\x0b", b"\x10\x01"):
        with pytest.raises(ValueError, match=r"field|number|wire"):
            parse(content)
