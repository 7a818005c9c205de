"""The stage `shards`: the same bytes whatever the workers, right contents, resume."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from massivetext.config import Config, HeldOut, Mixture, Subset
from massivetext.config_mixture import Construction, MixtureStage
from massivetext.construction import Drawn
from massivetext.dataset import sha256_file
from massivetext.errors import ConfigError, VerifyError
from massivetext.mixture import plan
from massivetext.pipelines import mix
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.part import Part, PartOutput
from massivetext.shards import Shards
from massivetext.tokens import TokenStore
from massivetext.verify_shards import verify

EOS, PAD = 1, 0
TOKENS = {"books": (700, 451), "github": (90,), "news": (0, 33)}
HELD = {"books": (77,), "github": (0,), "news": (16,)}


def store(root, folder, sizes, random):
    parts = []
    for number, size in enumerate(sizes):
        tokens = random.integers(2, 500, size).astype("<u2")
        tokens[4::5] = EOS
        if size:
            tokens[-1] = EOS
        path = root / folder / f"part-{number:05d}.tokens"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tokens.tobytes())
        ends = np.flatnonzero(tokens == EOS) + 1
        path.with_suffix(".documents").write_bytes(ends.astype("<u8").tobytes())
        relative = str(path.relative_to(root))
        parts.append({"path": relative, "tokens": size, "documents": len(ends)})
    documents = sum(part["documents"] for part in parts)
    return {"documents": documents, "tokens": sum(sizes), "text_bytes": 11, "parts": parts}


def stores(root):
    random = np.random.default_rng(3)
    kinds = (("subsets", "tokens", TOKENS), ("heldout", "tokens/heldout", HELD))
    return {
        "vocab_size": 500, "dtype": "uint16", "eos_id": EOS, "pad_id": PAD,
        "tokenizer_sha256": "ab", "key": "k", "depends": {}, "files": [],
        **{
            kind: {n: store(root, f"{folder}/{n}", s, random) for n, s in sizes.items()}
            for kind, folder, sizes in kinds
        },
    }  # fmt: skip


def config(root, **mixture):
    weights = {"github": 0.2, "books": 0.7, "news": 0.1}
    chosen = {"tokens": 2003, "sequence_length": 16, "weights": weights, "shard_sequences": 50}
    return Config(
        output=str(root),
        subsets={name: Subset(input=("x",)) for name in ("github", "books", "news")},
        seed=7,
        heldout=HeldOut(),
        mixture=Mixture(**{**chosen, "max_epochs": 5.0, **mixture}),
    )


def build(root, workers=1, **mixture):
    manifest = stores(root)
    context = Context(root, Engine(workers=workers), quiet=True)
    return manifest, mix.run(context, config(root, **mixture), manifest)


def hashes(root):
    paths = sorted((root / "shards").rglob("*"))
    return {str(p.relative_to(root)): sha256_file(p) for p in paths if p.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("mix")
    return root, *build(root)


def test_records_are_the_sequences_of_the_stores(built):
    root, tokens, _ = built
    shards = Shards.open(root / "shards")
    records = shards.read(0, len(shards))
    assert len(shards) == 125
    names = [entry["name"] for entry in shards.manifest["subsets"]]
    assert names == ["books", "github", "news"]
    assert np.bincount(records.subset).tolist() == [88, 25, 12]  # 87.5, 25, 12.5: ties by name
    opened = {name: TokenStore.open(root, name, tokens) for name in names}
    for k in range(len(shards)):
        chosen = opened[names[records.subset[k]]]
        number = int(records.sequence[k])
        assert np.array_equal(records.tokens[k], chosen.sequence(number, 16))
        assert records.targets[k] == chosen.targets(number, 16)
    held = shards.heldout("books")
    assert (len(held), held.targets, held.text_bytes) == (5, 77, 11)
    whole = TokenStore.open(root, "heldout/books", tokens)
    for k in range(5):
        assert np.array_equal(held[k], whole.sequence(k, 16))


def test_the_manifest_says_what_was_made(built):
    root, _, manifest = built
    inner = json.loads((root / "shards/manifest.json").read_text())
    assert inner["subsets"][1] == {
        "index": 1, "name": "github", "weight": 0.2, "available_tokens": 90,
        "available_sequences": 6, "sequences": 25, "tokens": 400, "epochs": 25 / 6,
    }  # fmt: skip
    assert [file["records"] for file in inner["files"]] == [50, 50, 25]
    assert inner["files"][0]["path"] == "train-00000-of-00003.tfrecord"
    assert list(inner["heldout"]) == ["books", "news"]  # github has no held-out tokens
    assert (inner["seed"], inner["tokenizer_sha256"]) == (7, "ab")
    assert manifest["subsets"] == inner["subsets"]
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert listed == hashes(root)
    assert len(list(verify(root / "shards", quiet=True))) == 6


def test_two_workers_write_the_same_bytes(built, tmp_path):
    build(tmp_path, workers=2)
    assert hashes(tmp_path) == hashes(built[0])


def test_the_size_of_shards_does_not_change_the_records(built, tmp_path):
    build(tmp_path, shard_sequences=1000)
    one = Shards.open(tmp_path / "shards").read(0, 125)
    for a, b in zip(one, Shards.open(built[0] / "shards").read(0, 125), strict=True):
        assert np.array_equal(a, b)


def test_a_finished_stage_is_skipped_and_new_weights_mix_again(tmp_path):
    tokens, first = build(tmp_path)
    path = tmp_path / "shards/manifest.json"
    before = path.stat().st_mtime_ns
    context = Context(tmp_path, Engine(workers=1), quiet=True)
    assert mix.run(context, config(tmp_path), tokens) == first
    assert path.stat().st_mtime_ns == before
    weights = {"github": 0.0, "books": 1.0, "news": 0.0}
    again = mix.run(context, config(tmp_path, weights=weights, shard_sequences=500), tokens)
    assert [entry["sequences"] for entry in again["subsets"]] == [125, 0, 0]
    files = [Path(name).name for name in hashes(tmp_path)]
    assert files[:3] == ["books.tfrecord", "news.tfrecord", "manifest.json"]
    assert files[3:] == ["train-00000-of-00001.tfrecord"]
    list(verify(tmp_path / "shards", quiet=True))


def test_a_plan_that_cannot_be_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"'github' would be repeated for 4.17 epochs"):
        build(tmp_path, max_epochs=4.0)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("gathered", [1, 20 * 17 * 2, 1 << 20])
def test_batches_inside_a_shard_leave_no_mark(built, tmp_path, monkeypatch, gathered):
    monkeypatch.setattr(mix, "BATCH_RECORDS", 7)
    monkeypatch.setattr(mix, "GATHERED_BYTES", gathered)
    tokens = stores(tmp_path)
    chosen = config(tmp_path)
    available = {name: sum(sizes) for name, sizes in TOKENS.items()}
    planned = plan(chosen.mixture, chosen.mixture.weights, available)
    counts = mix.make_order(planned, 7).counts(50).tolist()
    part = Part("again", 1, {"start": 50, "stop": 100, "counts": counts})
    work = mix.WriteShard(planned, 7, tokens)
    work.setup()
    work.run(part, PartOutput(tmp_path, "shards", part))
    expected = built[0] / "shards/train-00001-of-00003.tfrecord"
    assert (tmp_path / "shards/again.tfrecord").read_bytes() == expected.read_bytes()


def test_the_bytes_of_a_plain_mixture_never_change(built):
    """Known answer: shards of a mixture without stages, packed."""
    folder = built[0] / "shards"
    digests = [sha256_file(path)[:16] for path in sorted(folder.glob("*.tfrecord"))]
    assert digests == ["4f96087cc8058f2c", "a758c6cf7a5e3071", "4f1d145d9cbafa37"]


STAGES = (
    MixtureStage(0.8),
    MixtureStage(1.0, {"github": 0.0, "books": 0.3, "news": 0.7}),
)
STAGED = {"stages": STAGES, "max_epochs": 12.0}
DRAWN = {"construction": Construction.GOPHER, "sequence_length": 4, "tokens": 1000}
BOTH = {**DRAWN, **STAGED, "sequence_length": 6}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    root = tmp_path_factory.mktemp("staged")
    return root, *build(root, **STAGED)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    return root, *build(root, **DRAWN)


def test_weights_change_at_the_stage_and_epochs_run_on(staged):
    root, tokens, _ = staged
    shards = Shards.open(root / "shards")
    records = shards.read(0, 125)
    assert np.bincount(records.subset[:100]).tolist() == [70, 20, 10]
    assert np.bincount(records.subset[100:]).tolist() == [8, 0, 17]  # 7.5, 0, 17.5: ties by name
    assert shards.manifest["stages"] == [
        {
            "stop": 100,
            "weights": {"books": 0.7, "github": 0.2, "news": 0.1},
            "sequences": {"books": 70, "github": 20, "news": 10},
        },
        {
            "stop": 125,
            "weights": {"books": 0.3, "github": 0.0, "news": 0.7},
            "sequences": {"books": 8, "github": 0, "news": 17},
        },
    ]
    news = records.subset == 2
    assert records.epoch[news].tolist() == [epoch for epoch in range(9) for _ in range(3)]
    lines = list(verify(root / "shards", quiet=True, tokens=tokens))
    assert "contents: every record is what its construction takes from the token stores" in lines


def test_the_first_stage_is_what_it_would_be_alone(staged, tmp_path):
    """Weights that change at the end leave what stands before it as it was."""
    build(tmp_path, tokens=1600)
    alone = Shards.open(tmp_path / "shards").read(0, 100)
    for a, b in zip(alone, Shards.open(staged[0] / "shards").read(0, 100), strict=True):
        assert np.array_equal(a, b)


def test_gophers_sequences_are_those_of_the_construction(drawn):
    root, tokens, _ = drawn
    shards = Shards.open(root / "shards")
    assert len(shards) == 250
    records = shards.read(0, 250)
    entry = shards.manifest["subsets"][0]
    # Documents of five tokens: each gives one crop of four; the last of `books`, of 3, is packed.
    assert (entry["crops"], entry["stored_tokens"]) == (230, 1151)
    for name, subset in (("books", 0), ("github", 1), ("news", 2)):
        source = Drawn(TokenStore.open(root, name, tokens), 4, 7, name)
        for k in np.flatnonzero(records.subset == subset):
            expected = source.tokens(int(records.sequence[k]), int(records.epoch[k]))
            assert np.array_equal(records.tokens[k], expected)
    assert len(list(verify(root / "shards", quiet=True, tokens=tokens))) == 7


@pytest.mark.parametrize("mixture", [STAGED, DRAWN, BOTH])
def test_neither_workers_nor_shards_change_stages_and_crops(mixture, tmp_path):
    for name, workers, size in (("one", 1, 50), ("two", 2, 50), ("whole", 1, 1000)):
        tokens, _ = build(tmp_path / name, workers, **mixture, shard_sequences=size)
        list(verify(tmp_path / name / "shards", quiet=True, tokens=tokens))
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    one, whole = (Shards.open(tmp_path / name / "shards") for name in ("one", "whole"))
    assert len(one.paths) > 1
    for a, b in zip(one.read(0, len(one)), whole.read(0, len(one)), strict=True):
        assert np.array_equal(a, b)


def test_verify_finds_tokens_that_the_stores_do_not_hold(drawn, tmp_path):
    root, tokens, _ = drawn
    with pytest.raises(VerifyError, match="of different tokenizers"):
        list(verify(root / "shards", quiet=True, tokens={**tokens, "tokenizer_sha256": "cd"}))
    shutil.copytree(root, tmp_path / "copy")
    path = tmp_path / "copy/tokens/books/part-00000.tokens"
    data = bytearray(path.read_bytes())
    data[::2] = bytes(2 if byte != EOS else EOS for byte in data[::2])
    path.write_bytes(data)
    with pytest.raises(VerifyError, match=r"record \d+ at byte .*not those of the token store"):
        list(verify(tmp_path / "copy/shards", quiet=True, tokens=tokens))
    manifest = json.loads((tmp_path / "copy/shards/manifest.json").read_text())
    manifest["subsets"][0]["crops"] -= 1
    (tmp_path / "copy/shards/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VerifyError, match=r"was made of 1,151 tokens of books \(229 cropped"):
        list(verify(tmp_path / "copy/shards", quiet=True, tokens=tokens))


def test_verify_finds_stages_that_are_not_those_of_the_mixture(staged, tmp_path):
    shutil.copytree(staged[0] / "shards", tmp_path / "shards")
    path = tmp_path / "shards/manifest.json"
    manifest = json.loads(path.read_text())
    for change, message in (
        (lambda m: m["stages"][0].update(stop=99), "stages are not those that its mixture gives"),
        (lambda m: m["mixture"]["stages"][0].update(until=0.85), "its weights give"),
        (lambda m: m["mixture"]["stages"].pop(), "makes no plan: the last stage ends"),
    ):
        changed = json.loads(json.dumps(manifest))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(VerifyError, match=message):
            list(verify(tmp_path / "shards", quiet=True))
