"""Stages `tokenizer` and `tokens` with fill-in-the-middle: what is rewritten, counted and kept."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext.config import FillInTheMiddle
from massivetext.config import Tokenizer as TokenizerConfig
from massivetext.config_file import parse
from massivetext.dataset import read_json
from massivetext.errors import ConfigError, StageError
from massivetext.fill_in_the_middle import PLAIN, SENTINELS, split
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.plan import check
from massivetext.pipelines.tokenise import tokenise_stage, train_tokenizer_stage
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.train import train
from massivetext.tokens import TokenStore
from massivetext.verify import verify

from ..tokenizer.foreign import trained
from .test_build import run
from .test_tokenise import CONFIG, HELDOUT, SUBSETS, TEXTS, build, contents, write

RULE = FillInTheMiddle(rate=0.5, subsets=("books",))
INFILL = replace(CONFIG, fill_in_the_middle=RULE)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("infill")
    return root, *build(root, INFILL)


def documents(root, tokens, name):
    store = TokenStore.open(root, name, tokens)
    return np.split(store.slice(0, len(store)), store.document_ends().astype(int)[:-1])


def test_two_workers_write_the_same_bytes(built, tmp_path):
    build(tmp_path, INFILL, workers=2)
    assert contents(tmp_path) == contents(built[0])


def test_training_documents_of_the_subset_are_rewritten_and_no_others(built):
    root, tokenizer, tokens = built
    encoder = Tokenizer.load(root / tokenizer["model"])
    assert tokenizer["sentinels"] == dict(zip(SENTINELS, (3, 4, 5), strict=True))
    assert tokens["vocab_size"] == encoder.vocab_size == 600
    rewritten = 0
    for i, texts in enumerate(SUBSETS["books"]):
        ids = pa.array([f"documents-books-{i}-{k}" for k in range(len(texts))], pa.string())
        _, orders = split(pa.array(texts, pa.large_string()), ids, RULE, CONFIG.seed)
        part = tokens["subsets"]["books"]["parts"][i]
        assert part["fill_in_the_middle"] == np.count_nonzero(orders != PLAIN) > 0
        rewritten += part["fill_in_the_middle"]
    assert tokens["subsets"]["books"]["fill_in_the_middle"] == rewritten
    assert rewritten < len([text for part in SUBSETS["books"] for text in part])
    assert tokens["counts"]["fill_in_the_middle"] == rewritten
    assert tokens["subsets"]["github"]["fill_in_the_middle"] == 0
    assert all("fill_in_the_middle" not in entry for entry in tokens["heldout"].values())

    stored = documents(root, tokens, "books")
    texts = [text for part in SUBSETS["books"] for text in part]
    assert sum(3 in document for document in stored) == rewritten
    for document, text in zip(stored, texts, strict=True):
        assert document[-1] == encoder.eos_id
        if document[0] != 3:
            assert document[:-1].tolist() == encoder.encode(text).tolist()
            continue
        suffix, middle = (int(np.flatnonzero(document == token)[0]) for token in (5, 4))
        parts = (document[1:suffix], document[middle + 1 : -1], document[suffix + 1 : middle])
        assert "".join(encoder.decode(part) for part in parts) == text
    for name in ("github", "heldout/books", "heldout/github"):
        subsets = HELDOUT if name.startswith("heldout/") else SUBSETS
        texts = [text for part in subsets[name.removeprefix("heldout/")] for text in part]
        expected = [[*encoder.encode(text).tolist(), encoder.eos_id] for text in texts]
        assert [d.tolist() for d in documents(root, tokens, name) if len(d)] == expected


def test_bytes_are_those_of_the_texts_and_tokens_count_the_sentinels(built):
    root, _, tokens = built
    for name, parts in SUBSETS.items():
        entry = tokens["subsets"][name]
        assert entry["text_bytes"] == sum(len(text.encode()) for part in parts for text in part)
        assert entry["tokens"] == sum(map(len, documents(root, tokens, name)))
    stored = np.concatenate(documents(root, tokens, "books"))
    count = tokens["subsets"]["books"]["fill_in_the_middle"]
    assert [int((stored == token).sum()) for token in (3, 4, 5)] == [count] * 3


def test_without_the_section_nothing_is_said_of_it(tmp_path):
    tokenizer, tokens = build(tmp_path)
    assert tokenizer["depends"].keys() == {
        *("tokenizer", "version", "documents", "budgets", "preset", "seed")
    }
    assert tokens["depends"].keys() == {"tokenizer", "documents", "version"}
    assert not re.search("fill_in|sentinel|fim_", json.dumps([tokenizer, tokens]))


def test_only_what_changed_is_done_again(tmp_path):
    tokenizer, tokens = build(tmp_path, INFILL)
    assert build(tmp_path, INFILL) == (tokenizer, tokens)
    keys = {tokens["key"]}
    for change in ({"rate": 0.9}, {"spm_rate": 0.0}, {"subsets": None}):
        config = replace(INFILL, fill_in_the_middle=replace(RULE, **change))
        same, other = build(tmp_path, config)
        assert same == tokenizer
        keys.add(other["key"])
    assert len(keys) == 4
    # Subsets left out means all of them.
    assert other["subsets"]["github"]["fill_in_the_middle"] > 0
    # Rate 0 gives the tokens of a build without the section on the same model.
    none = replace(INFILL, fill_in_the_middle=replace(RULE, rate=0.0))
    _, off = build(tmp_path, none)
    assert off["counts"]["fill_in_the_middle"] == 0
    model = tmp_path / "kept.model"
    model.write_bytes((tmp_path / tokenizer["model"]).read_bytes())
    _, without = build(tmp_path, replace(CONFIG, tokenizer=TokenizerConfig(model=str(model))))
    assert {f["path"]: f["sha256"] for f in without["files"]} == {
        f["path"]: f["sha256"] for f in off["files"]
    }


def test_a_given_model_that_has_the_sentinels(built, tmp_path):
    root, tokenizer, tokens = built
    chosen = TokenizerConfig(model=str(root / tokenizer["model"]))
    _, same = build(tmp_path, replace(INFILL, tokenizer=chosen))
    assert same["files"] == tokens["files"]


def test_models_that_cannot_be_used_are_refused_before_any_work(tmp_path):
    lacks, spaces = tmp_path / "lacks.model", tmp_path / "spaces.model"
    train(TEXTS, TOKENIZERS["chinchilla"], 500, lacks, control_symbols=SENTINELS[:1])
    symbols = {"control_symbols": list(SENTINELS), "model_type": "bpe", "byte_fallback": True}
    spaces.write_bytes(trained(**symbols))
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    for model, message in (
        (lacks, r"no control symbols <fim_middle>, <fim_suffix>, which fill_in_the_middle needs"),
        (spaces, r"adds, removes or merges spaces, so the parts that fill_in_the_middle cuts do"),
    ):
        config = replace(INFILL, tokenizer=TokenizerConfig(model=str(model)))
        with pytest.raises(ConfigError, match=rf"{model.name} .*{message}"):
            train_tokenizer_stage(
                Context(tmp_path / "out", Engine(workers=1)), config, write(tmp_path)
            )
        text = (
            f"output: out\nsubsets:\n  books: {{input: {tmp_path}/a.jsonl}}\n"
            f"tokenizer:\n  model: {model}\nfill_in_the_middle: {{}}\n"
        )
        with pytest.raises(ConfigError, match=rf"^my.yaml:5: tokenizer.model: .*{message}"):
            check(parse(text, "my.yaml"))


def test_the_plan_names_the_subsets(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    text = (
        f"output: out\nsubsets:\n  books: {{input: {tmp_path}/a.jsonl}}\n"
        "mixture: {tokens: 1000}\nfill_in_the_middle: "
    )
    lines = check(parse(f"{text}{{rate: 0.9}}\n", "my.yaml"))
    assert "infill    books: 0.9 of the documents, 0.5 of them SPM" in lines
    with pytest.raises(ConfigError, match=r"my.yaml:5: .*no subset 'book'; did you mean 'books'"):
        check(parse(f"{text}{{subsets: book}}\n", "my.yaml"))


def test_a_person_is_told_how_many_were_rewritten(tmp_path, capsys):
    context = Context(tmp_path, Engine(workers=1), quiet=False)
    found = write(tmp_path)
    tokenizer = train_tokenizer_stage(context, INFILL, found)
    entry = tokenise_stage(context, INFILL, found, tokenizer)["subsets"]["books"]
    count, total = entry["fill_in_the_middle"], entry["documents"]
    assert f"fill-in-the-middle documents: books {count} of {total}\n" in capsys.readouterr().err


def test_text_that_is_not_unicode_is_named_by_its_rows(tmp_path):
    context = Context(tmp_path, Engine(workers=1), quiet=True)
    found = write(tmp_path)
    tokenizer = train_tokenizer_stage(context, INFILL, found)
    path = tmp_path / found["subsets"]["books"]["parts"][0]["path"]
    table = pq.read_table(path)
    broken = pa.array([b"a\xff"] * table.num_rows, pa.large_binary()).view(pa.large_string())
    pq.write_table(table.set_column(table.column_names.index("text"), "text", broken), path)
    with pytest.raises(StageError, match=r"part-00000\.parquet, rows 0 to \d+: a text is not"):
        tokenise_stage(context, INFILL, found, tokenizer)


def test_a_whole_build_is_verified(tmp_path):
    for i, text in enumerate(filter(None, TEXTS)):  # nothing in an empty file can be cut
        (tmp_path / f"module{i}.py").write_text(text)
    text = f"""
output: {tmp_path}/out
subsets:
  github: {{input: {tmp_path}, format: files, include: ["*.py"]}}
deduplicate: {{enabled: false}}
tokenizer: {{vocab_size: 600}}
mixture: {{weights: {{github: 1}}, tokens: 20_000, sequence_length: 64}}
fill_in_the_middle: {{rate: 1}}
"""
    root, manifests = run(text)
    assert any(line.startswith("order: every record") for line in verify(root))
    github = manifests["tokens"]["subsets"]["github"]
    assert github["fill_in_the_middle"] == github["documents"] > 0
    assert manifests["tokens"]["heldout"]["github"]["documents"] > 0
    assert "rate: 1.0" in (root / "config.yaml").read_text()
    assert read_json(root / "shards/manifest.json")["vocab_size"] == 600
