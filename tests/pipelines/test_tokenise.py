"""Stages `tokenizer` and `tokens`: the same bytes however many workers, and nothing lost."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece

from massivetext.config import Config, Mixture, Subset
from massivetext.config import Tokenizer as TokenizerConfig
from massivetext.errors import ConfigError, StageError
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.tokenise import tokenise_stage, train_tokenizer_stage
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.train import train
from massivetext.tokens import TokenStore

SOURCES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.py"))
TEXTS = [path.read_text() + f"\u2581 é\0 {i}" for i, path in enumerate(SOURCES)] + ["", "\u4e2d"]
SUBSETS = {"books": [TEXTS[0::3], TEXTS[1::3]], "github": [TEXTS[2::3], []]}
HELDOUT = {"books": [["held out", "zyzzyva " * 40], []], "github": [[], []]}
CONFIG = Config(
    output="unused",
    subsets={name: Subset(input=("unused",)) for name in SUBSETS},
    tokenizer=TokenizerConfig(vocab_size=600, sample_bytes=30_000),
    mixture=Mixture(weights={"books": 0.75, "github": 0.25}),
)


def write(root: Path) -> dict:
    """Write documents and held-out documents; return their manifest."""
    manifest: dict = {"files": []}
    for kind, folder, subsets in (
        ("subsets", "documents", SUBSETS),
        ("heldout", "heldout", HELDOUT),
    ):
        manifest[kind] = {}
        for name, parts in subsets.items():
            entries = []
            for i, texts in enumerate(parts):
                path = f"{folder}/{name}/part-{i:05d}.parquet"
                ids = [f"{folder}-{name}-{i}-{k}" for k in range(len(texts))]
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                columns = [pa.array(ids, pa.string()), pa.array(texts, pa.large_string())]
                pq.write_table(pa.table(columns, ["id", "text"]), root / path, row_group_size=2)
                size = sum(len(text.encode()) for text in texts)
                entries.append({"path": path, "rows": len(texts), "bytes": size})
                sha256 = hashlib.sha256((root / path).read_bytes()).hexdigest()
                manifest["files"].append({"path": path, "sha256": sha256})
            manifest[kind][name] = {
                "documents": sum(e["rows"] for e in entries),
                "bytes": sum(e["bytes"] for e in entries),
                "parts": entries,
            }
    return manifest


def build(root: Path, config: Config = CONFIG, workers: int = 1) -> tuple[dict, dict]:
    context = Context(root, Engine(workers=workers), quiet=True)
    documents = write(root)
    tokenizer = train_tokenizer_stage(context, config, documents)
    return tokenizer, tokenise_stage(context, config, documents, tokenizer)


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("tokenizer", "tokens", "manifests")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    return root, *build(root)


def test_two_workers_write_the_same_bytes(built, tmp_path):
    build(tmp_path, workers=2)
    assert contents(tmp_path) == contents(built[0])


def test_every_document_comes_back_from_the_stores(built):
    root, tokenizer, tokens = built
    encoder = Tokenizer.load(root / tokenizer["model"])
    assert tokenizer["sha256"] == tokens["tokenizer_sha256"] == encoder.sha256
    described = {"vocab_size": 600, "dtype": "uint16", "eos_id": 1, "pad_id": 0}
    assert {name: tokens[name] for name in described} == described
    for prefix, subsets in (("", SUBSETS), ("heldout/", HELDOUT)):
        for name, parts in subsets.items():
            store = TokenStore.open(root, prefix + name, tokens)
            texts = [text for part in parts for text in part]
            assert store.documents == len(texts)
            assert store.text_bytes == sum(len(text.encode()) for text in texts)
            start = 0
            for text, end in zip(texts, store.document_ends().tolist(), strict=True):
                document = store.slice(start, end)
                assert document[-1] == encoder.eos_id
                assert encoder.decode(document[:-1]) == text
                start = end
            assert start == len(store)


def test_the_manifest_counts_add_up(built):
    root, _, tokens = built
    entries = [*tokens["subsets"].values(), *tokens["heldout"].values()]
    assert tokens["counts"]["tokens"] == sum(entry["tokens"] for entry in entries)
    assert tokens["counts"]["documents"] == len(TEXTS) + 2
    assert [p["path"] for p in tokens["heldout"]["books"]["parts"]] == [
        f"tokens/heldout/books/part-0000{i}.tokens" for i in range(2)
    ]
    assert len(tokens["files"]) == 2 * 8
    assert not (root / ".work/tokenizer").exists()


def test_the_report_says_what_was_sampled(built):
    root, tokenizer, _ = built
    report = json.loads((root / "tokenizer/report.json").read_text())["report"]
    assert report == tokenizer["report"]
    assert report["preset"] == "chinchilla"
    drawn = report["bytes_by_subset"]
    # A text is cut between characters: up to three bytes short.
    assert 22_497 <= drawn["books"] <= 22_500
    assert 7_497 <= drawn["github"] <= 7_500
    assert report["text_bytes"] == sum(drawn.values())
    assert tokenizer["lossless"]
    assert str(root) not in json.dumps(report)


def test_held_out_text_is_not_learnt(built):
    root, tokenizer, _ = built
    pieces = Tokenizer.load(root / tokenizer["model"])._processor
    assert not any("zyz" in pieces.id_to_piece(i) for i in range(600))


def test_nothing_is_done_twice_and_only_what_changed_is_redone(tmp_path):
    tokenizer, tokens = build(tmp_path)
    path = tmp_path / tokens["subsets"]["books"]["parts"][0]["path"]
    before = path.stat().st_mtime_ns
    assert build(tmp_path) == (tokenizer, tokens)
    # New weights with the trained model named in the config leave the tokens alone.
    model = tmp_path / "mine.model"
    model.write_bytes((tmp_path / tokenizer["model"]).read_bytes())
    config = replace(
        CONFIG,
        tokenizer=TokenizerConfig(model=str(model)),
        mixture=Mixture(weights={"books": 0.5, "github": 0.5}),
    )
    again, same = build(tmp_path, config)
    assert again["sha256"] == tokenizer["sha256"]
    assert same == tokens
    assert path.stat().st_mtime_ns == before


def test_a_given_model_is_copied_and_another_one_encodes_anew(built, tmp_path):
    model = tmp_path / "mine.model"
    train(TEXTS, TOKENIZERS["gopher"], 500, model)
    config = replace(CONFIG, tokenizer=TokenizerConfig(model=str(model)))
    tokenizer, tokens = build(tmp_path / "out", config)
    assert (tmp_path / "out" / tokenizer["model"]).read_bytes() == model.read_bytes()
    assert tokenizer["report"] == {}
    assert tokens["vocab_size"] == 500
    assert tokens["key"] != built[2]["key"]
    model.write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"mine\.model is not a whole SentencePiece model"):
        build(tmp_path / "out", config)


def test_the_type_of_the_model_is_a_key_of_the_config(tmp_path):
    config = replace(CONFIG, tokenizer=replace(CONFIG.tokenizer, model_type="unigram"))
    tokenizer, tokens = build(tmp_path, config)
    assert tokenizer["report"]["model_type"] == "unigram"
    assert tokenizer["lossless"]
    store = TokenStore.open(tmp_path, "books", tokens)
    end = int(store.document_ends()[0])
    encoder = Tokenizer.load(tmp_path / tokenizer["model"])
    assert encoder.decode(store.slice(0, end - 1)) == SUBSETS["books"][0][0]
    with pytest.raises(ValueError, match="model_type 'unigrams' is unknown; did you mean"):
        TokenizerConfig(model_type="unigrams")


def test_a_person_is_told_what_was_trained_on(tmp_path, capsys):
    context = Context(tmp_path, Engine(workers=1), quiet=False)
    train_tokenizer_stage(context, CONFIG, write(tmp_path))
    lines = capsys.readouterr().err
    assert re.search(r"trained on 30\.0 kB \(books 22\.5 kB, github 7\.5 kB\): \d+ doc", lines)
    assert re.search(r"600 pieces in .* s, .* MB of memory", lines)


def test_what_a_model_without_byte_fallback_loses_is_counted(tmp_path, capsys):
    model = tmp_path / "mine.model"
    with open(model, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["some plain words and more of them"] * 9),
            model_writer=file,
            vocab_size=40,
            model_type="bpe",
            hard_vocab_limit=False,
            minloglevel=2,
        )
    config = replace(CONFIG, tokenizer=TokenizerConfig(model=str(model)))
    tokenizer, tokens = build(tmp_path / "out", config)
    encoder = Tokenizer.load(model)
    assert tokenizer["lossless"] is False
    texts = [*TEXTS, *(text for parts in HELDOUT.values() for part in parts for text in part)]
    lost = sum(int((encoder.encode(text) == encoder.unk_id).sum()) for text in texts)
    assert tokens["counts"]["unknown_tokens"] == lost > 0
    lines = capsys.readouterr().err
    assert "warning: the model is not lossless: it has no byte fallback: " in lines
    assert f"warning: {lost:,} tokens are <unk>" in lines


def test_errors_name_the_stage_and_what_to_do(tmp_path):
    config = replace(CONFIG, tokenizer=TokenizerConfig(vocab_size=90_000))
    with pytest.raises(StageError, match=r"part train: vocab_size 90000 is too large .* at most"):
        build(tmp_path, config)
    config = replace(CONFIG, mixture=Mixture(weights={"books": 1.0}))
    with pytest.raises(ConfigError, match="'github' has no weight"):
        build(tmp_path, config)


def test_documents_that_are_not_what_the_manifest_says(tmp_path):
    context = Context(tmp_path, Engine(workers=1), quiet=True)
    documents = write(tmp_path)
    tokenizer = train_tokenizer_stage(context, CONFIG, documents)
    documents["subsets"]["books"]["parts"][0]["rows"] += 1
    with pytest.raises(StageError, match=r"books/part-00000\.parquet has \d+ documents and its"):
        tokenise_stage(context, CONFIG, documents, tokenizer)
