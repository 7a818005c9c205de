"""Records computed from token stores: those of the shards of the same config, and samples."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.config_mixture import Construction, MixtureStage
from massivetext.dataset import sha256_json, write_json
from massivetext.errors import ConfigError, InputError
from massivetext.mixture_plan import Stock
from massivetext.mixture_records import MixtureRecords, _scaled
from massivetext.pipelines import mix
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.shards import Shards
from massivetext.trainer.data import text_bytes_per_target

from ..pipelines.test_mix import config, stores


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    write_json(root / "manifests" / "tokens.json", stores(root))
    return root


def equal(a, b):
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


STAGES = (
    MixtureStage(0.5),
    MixtureStage(1.0, {"github": 0.0, "books": 0.9, "news": 0.1}),
)


@pytest.mark.parametrize(
    "mixture",
    [
        {},
        {"construction": Construction.GOPHER, "max_epochs": 20.0},
        {"stages": STAGES},
        {"weights": {"github": 0.0, "books": 1.0, "news": 0.0}, "tokens": 1000},
    ],
    ids=["pack", "gopher", "stages", "one subset"],
)
def test_they_are_the_records_of_the_shards(root, tmp_path, mixture):
    settings = config(tmp_path, **mixture)
    manifest = stores(tmp_path)
    write_json(tmp_path / "manifests" / "tokens.json", manifest)
    mix.run(Context(tmp_path, Engine(workers=1), quiet=True), settings, manifest)
    shards, records = Shards.open(tmp_path / "shards"), MixtureRecords(tmp_path, settings)
    assert len(records) == len(shards)
    assert equal(records.read(0, len(records)), shards.read(0, len(shards)))
    assert records.heldout_names == shards.heldout_names == ("books", "news")
    for name in shards.heldout_names:
        ours, theirs = records.heldout(name), shards.heldout(name)
        assert equal(ours.read(0, len(ours)), theirs.read(0, len(theirs)))
        about = ("targets", "text_bytes", "documents")
        assert [getattr(ours, key) for key in about] == [getattr(theirs, key) for key in about]
    for key in ("subsets", "sequence_length", "vocab_size", "tokenizer_sha256", "mixture"):
        assert records.manifest[key] == shards.manifest[key]
    assert text_bytes_per_target(records.manifest) == text_bytes_per_target(shards.manifest)


@given(cuts=st.lists(st.integers(0, 125), max_size=6))
def test_any_part_is_read_on_its_own(root, cuts):
    records = MixtureRecords(root, config(root))
    whole = records.read(0, 125)
    for start, stop in pairwise(cuts):
        if start <= stop:
            part = records.read(start, stop)
            assert equal(part, [column[start:stop] for column in whole])


def test_a_sample_is_repeated_as_often_as_the_whole_would_be(root):
    # books has 72 sequences, github 6, news 3. A tenth of the real run sees a tenth of each.
    settings = config(root, tokens=2000, max_epochs=53)
    records = MixtureRecords(root, settings, like_tokens=20_000)
    subsets = {entry["name"]: entry for entry in records.manifest["subsets"]}
    available = {name: entry["available_sequences"] for name, entry in subsets.items()}
    assert available == {"books": 7, "github": 1, "news": 1}
    read = records.read(0, len(records))
    real = MixtureRecords(root, replace(settings, mixture=replace(settings.mixture, tokens=20_000)))
    whole = {entry["name"]: entry["epochs"] for entry in real.manifest["subsets"]}
    for index, name in enumerate(("books", "github", "news")):
        chosen = read.sequence[read.subset == index]
        assert len(set(chosen.tolist())) == available[name]
        exact = whole[name] * real.planned.subsets[index].sequences / 10 / available[name]
        assert subsets[name]["epochs"] == pytest.approx(exact, abs=1 / available[name])


def test_a_sample_holds_sequences_of_the_store(root):
    whole = MixtureRecords(root, config(root, max_epochs=100))
    settings = config(root, max_epochs=100, tokens=800)
    records = MixtureRecords(root, settings, like_tokens=8000)
    everything = whole.read(0, len(whole))
    rows = {
        (int(s), int(q)): (everything.tokens[k], int(everything.targets[k]))
        for k, (s, q) in enumerate(zip(everything.subset, everything.sequence, strict=True))
    }
    read = records.read(0, len(records))
    for k in range(len(records)):
        tokens, targets = rows[int(read.subset[k]), int(read.sequence[k])]
        assert np.array_equal(read.tokens[k], tokens)
        assert read.targets[k] == targets
    other = MixtureRecords(root, replace(settings, seed=8), like_tokens=8000)
    books = [set(r.read(0, 50).sequence.tolist()) for r in (records, other)]
    assert books[0] != books[1]


def test_the_epochs_of_the_real_run_count(root):
    # At 20,000 tokens news gives 125 of its 3 sequences: 41.67 epochs, at 2,000 tokens it gives 12
    # of its sample of one.
    real = {"tokens": 2000, "weights": {"github": 0.2, "books": 0.7, "news": 0.1}}
    MixtureRecords(root, config(root, max_epochs=42, **real), like_tokens=20_000)
    with pytest.raises(ConfigError, match=r"'news' would be repeated for 41\.67 epochs"):
        MixtureRecords(root, config(root, max_epochs=41, **real), like_tokens=20_000)
    # One that is no shorter than the real run is judged as it is.
    with pytest.raises(ConfigError, match=r"repeated for 4\.17 epochs"):
        MixtureRecords(root, config(root, max_epochs=4.1, **real), like_tokens=1000)


@given(
    tokens=st.integers(0, 10**6),
    crops=st.integers(0, 1000),
    part=st.fractions(0, 1),
    length=st.integers(1, 512),
)
def test_a_scaled_stock_is_whole_sequences(tokens, crops, part, length):
    stock = Stock(tokens + crops * length, crops, tokens)
    everything = stock.sequences(length)
    scaled = _scaled(stock, part, length).sequences(length)
    assert scaled == (max(1, round(part * everything)) if everything else 0)


def test_held_out_documents_of_another_build(root, tmp_path):
    manifest = stores(tmp_path)
    for entry in manifest["heldout"].values():
        entry["text_bytes"] = 99
    write_json(tmp_path / "manifests" / "tokens.json", manifest)
    own = MixtureRecords(root, config(root))
    records = MixtureRecords(root, config(root), heldout_root=tmp_path)
    assert records.heldout("books").text_bytes == 99
    assert equal(records.read(0, 9), own.read(0, 9))
    assert sha256_json(records.manifest) != sha256_json(own.manifest)
    write_json(tmp_path / "manifests" / "tokens.json", {**manifest, "tokenizer_sha256": "cd"})
    with pytest.raises(InputError, match="another tokenizer"):
        MixtureRecords(root, config(root), heldout_root=tmp_path)


def test_bad_requests_say_what_to_do(root, tmp_path):
    with pytest.raises(InputError, match="run massivetext tokenize"):
        MixtureRecords(tmp_path, config(tmp_path))
    records = MixtureRecords(root, config(root))
    with pytest.raises(InputError, match="no held-out set of 'github'"):
        records.heldout("github")
    with pytest.raises(IndexError, match="125"):
        records.read(120, 126)
    assert len(records.read(3, 3).tokens) == 0
