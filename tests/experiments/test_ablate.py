"""A whole ablation on a small corpus: what each variant holds, what none may, and its table."""

import json
import math
import random
import shutil
from dataclasses import replace
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from massivetext.cli.main import main
from massivetext.config import HeldOut, Overlap, Subset, Train
from massivetext.config_file import parse
from massivetext.dataset import read_json, sha256_file
from massivetext.errors import ConfigError, StageError
from massivetext.experiments import ablate as ablation
from massivetext.experiments.proxies import ProxyResult
from massivetext.experiments.variants import variants

from ..pipelines import corpus


def config_of(root, **sections):
    """Half of the documents are held out, so that some of them are ones with copies."""
    text = corpus.make(root).replace("fraction: 0.1", "fraction: 0.5")
    return replace(parse(text + "ablate: {seeds: 2}\n", "test.yaml").config, **sections)


class Fake:
    """Stands for the trainings: remembers what was asked for, and returns made-up losses."""

    def __init__(self, diverged=()):
        self.diverged = diverged
        self.calls = []

    def __call__(self, root, config, proxies, folder, *, heldout_root, **options):
        call = {"root": root, "config": config, "proxies": proxies, "heldout_root": heldout_root}
        self.calls.append(call)
        return [
            ProxyResult(
                name=proxy.name,
                weights=proxy.weights,
                seed=proxy.seed,
                bits_per_byte=dict.fromkeys(proxy.weights, float(len(proxy.name) + proxy.seed)),
                loss=1.0,
                parameters=7,
                tokens=proxy.train.steps,
                flops=1.0,
                seconds=1.0,
                curve=[],
                tokenizer_sha256="ab",
            )
            for proxy in proxies
            if proxy.name not in self.diverged
        ]


def run(root, config, **fake):
    trainings = Fake(**fake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "run_proxies", trainings)
        patch.setattr(ablation, "diverged", lambda *_: dict.fromkeys(trainings.diverged, "NaN"))
        value = ablation.ablate(root / "out", config, workers=1, quiet=True)
    return value, trainings


def documents(folder):
    """Return the text of the documents of a build by id."""
    tables = [
        pq.read_table(path, columns=["id", "text"])
        for path in sorted((folder / "documents").rglob("*.parquet"))
    ]
    return {row["id"]: row["text"] for table in tables for row in table.to_pylist()}


def held_out(root):
    """Return the items that no variant may train on: (subset, id, text)."""
    return [
        (path.stem, record["id"], record["text"])
        for path in sorted((root / "out/ablate/heldout").glob("*.jsonl"))
        for record in map(json.loads, path.read_text().splitlines())
    ]


def shingles(text):
    words = "".join(c for c in text if c.isalnum() or c.isspace()).split()
    return {tuple(words[i : i + 13]) for i in range(max(1, len(words) - 12))}


def jaccard(a, b):
    a, b = shingles(a), shingles(b)
    return len(a & b) / len(a | b)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("ablate")
    return root, *run(root, config_of(root))


def test_each_variant_holds_what_the_one_before_holds_less_what_its_stage_drops(done):
    root, value, _ = done
    assert [row["variant"] for row in value["rows"]] == [
        "raw", "filtered", "deduplicated", "decontaminated",
    ]  # fmt: skip
    # The spam is dropped by the rules of quality, and nothing else repeats itself.
    assert value["skipped"] == [
        {"variant": "de-repeated", "reason": "it leaves the same documents as filtered"}
    ]
    held = [documents(root / "out/ablate" / row["variant"]) for row in value["rows"]]
    for before, after in pairwise(held):
        assert after.items() < before.items()
    # Of each row, what the shards could draw from.
    assert [row["documents"] for row in value["rows"]] == [len(some) for some in held]
    for row in value["rows"]:
        tokens = read_json(root / "out/ablate" / row["variant"] / "manifests/tokens.json")
        assert row["tokens"] == sum(s["tokens"] for s in tokens["subsets"].values())
        assert not any(entry["documents"] for entry in tokens["heldout"].values())


def test_no_variant_holds_a_held_out_document_or_a_copy_of_it(done):
    root, _, _ = done
    items = held_out(root)
    whole = pq.read_table(root / "out/heldout", columns=["id"]).column("id").to_pylist()
    assert sorted(key for _, key, _ in items) == sorted(whole)
    raw = documents(root / "out/ablate/raw")
    assert not {key for _, key, _ in items} & set(raw)
    assert max(jaccard(text, other) for _, _, text in items for other in raw.values()) <= 0.8
    # There were copies: the whole build's own measured documents hold them.
    dropped = pq.read_table(root / "out/ablate/raw/dropped/overlap").num_rows
    assert dropped > len(items)


def test_variants_have_the_tokenizer_of_the_whole(done):
    root, value, _ = done
    models = {
        sha256_file(folder / "tokenizer/tokenizer.model")
        for folder in (root / "out", *((root / "out/ablate" / v["variant"]) for v in value["rows"]))
    }
    assert len(models) == 1


def test_trainings_are_the_same_but_for_their_documents(done):
    root, value, trainings = done
    assert [call["root"].name for call in trainings.calls] == [v["variant"] for v in value["rows"]]
    for call in trainings.calls:
        assert call["heldout_root"] == root / "out"
        assert [proxy.seed for proxy in call["proxies"]] == [1, 2]
        assert {p.weights["books"] for p in call["proxies"]} == {0.6}
    assert len({proxy.name for call in trainings.calls for proxy in call["proxies"]}) == 8
    assert len({repr(call["config"].mixture) for call in trainings.calls}) == 1


def test_the_table_is_written(done):
    root, value, _ = done
    assert read_json(root / "out/ablate/table.json") == value
    lines = (root / "out/ablate/table.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 4  # three subsets and their mean
    filtered = value["rows"][1]
    assert filtered["bits_per_byte"]["books"]["mean"] == len("filtered/1") + 1.5
    assert filtered["difference"]["books"] == {"mean": 5.0, "interval": [5.0, 5.0], "seeds": 2}


def test_builds_are_done_once_and_the_whole_is_not_read_again(done):
    root, value, _ = done
    folder = root / "out/ablate"
    measured = "measured/books/part-00000.parquet"
    assert (folder / "deduplicated" / measured).samefile(root / "out" / measured)
    paths = sorted(folder.rglob("*.parquet"))
    before = [path.stat().st_mtime_ns for path in paths]
    again, _ = run(root, config_of(root))
    assert again == value
    assert sorted(folder.rglob("*.parquet")) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_a_variant_of_few_tokens_is_repeated_and_the_table_says_how_often(done, tmp_path):
    root, _, _ = done
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    config = config_of(tmp_path, train=Train(steps=1000, batch_size=8))
    value, trainings = run(tmp_path, config)
    most = max(max(row["epochs"].values()) for row in value["rows"])
    assert most > config.mixture.max_epochs
    assert {c["config"].mixture.max_epochs for c in trainings.calls} == {float(math.ceil(most))}
    sequences = 1000 * 8
    github = -(-read_json(tmp_path / "out/ablate/raw/manifests/tokens.json")
               ["subsets"]["github"]["tokens"] // 64)  # fmt: skip
    assert value["rows"][0]["epochs"]["github"] == 0.1 * sequences / github


def test_a_run_that_diverged_is_named_and_left_out(done):
    root, _, _ = done
    value, _ = run(root, config_of(root), diverged=("filtered/2",))
    assert value["diverged"] == {"filtered/2": "NaN"}
    filtered = value["rows"][1]
    assert list(filtered["bits_per_byte"]["books"]["seeds"]) == ["1"]
    assert filtered["difference"]["books"] == {"mean": 5.0, "interval": None, "seeds": 1}
    with pytest.raises(StageError, match=r"every training on raw diverged \(NaN\)"):
        run(root, config_of(root), diverged=("raw/1", "raw/2"))


def test_a_held_out_document_is_found_as_it_was_before_its_text_was_cut(tmp_path):
    """C4's rules remove lines, so that what is left of a page is far from the page itself."""
    words = corpus.vocabulary(random.Random(0), 4000)
    rng = random.Random(1)

    def page():
        kept = "\n".join(" ".join(rng.choices(words, k=9)) + "." for _ in range(6))
        cut = "\n".join(" ".join(rng.choices(words, k=40)) for _ in range(6))
        return f"{kept}\n{cut}"

    records = [{"id": str(number), "text": page()} for number in range(20)]
    corpus.write_jsonl(tmp_path / "books.jsonl", records)
    text = f"""
output: {tmp_path}/out
subsets:
  books: {{input: "{tmp_path}/books.jsonl", rules: [c4]}}
deduplicate: false
heldout: {{fraction: 0.5}}
tokenizer: {{vocab_size: 400}}
mixture: {{weights: {{books: 1}}, sequence_length: 64, max_epochs: 1000}}
train: {{steps: 2, batch_size: 2}}
"""
    value, _ = run(tmp_path, parse(text, "test.yaml").config)
    assert [row["documents"] for row in value["rows"]] == [10, 10]
    items = held_out(tmp_path)
    assert len(items) == 20  # as they are, and as they were
    assert not {key for _, key, _ in items} & set(documents(tmp_path / "out/ablate/raw"))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"heldout": HeldOut(fraction=0.0)}, "heldout.fraction above 0"),
        ({"heldout": HeldOut(max_documents=0)}, "heldout.fraction above 0"),
        ({"overlap": Overlap(jaccard=1.0)}, "overlap.jaccard is 1"),
        (
            {
                "subsets": {"github": Subset(input=("x",))},
                "overlap": Overlap(),
            },
            "no stage to compare",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(tmp_path, sections, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, config_of(tmp_path, **sections))
    assert not (tmp_path / "out").exists()


def test_a_subset_without_tokens_is_named_with_its_variant(done):
    root, _, _ = done
    config = config_of(root)
    raw, filtered = variants(config, root / "out", ())[:2]
    tokens = read_json(root / "out/ablate/raw/manifests/tokens.json")
    emptied = {**tokens, "subsets": {**tokens["subsets"], "books": {"tokens": 0}}}
    with pytest.raises(ConfigError, match=r"filtered: subset 'books' has weight 0\.6 but no"):
        ablation._plan(config, [raw, filtered], {"raw": tokens, "filtered": emptied}, quiet=True)


@pytest.mark.slow
def test_the_command_trains_and_tells(tmp_path, capsys):
    text = corpus.make(tmp_path) + "deduplicate: false\nablate: {seeds: 1}\n"
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("overlap:", "# overlap:"))
    assert main(["ablate", str(path), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    for line in (
        "left out: de-repeated: it leaves the same documents as filtered",
        "left out: deduplicated: deduplication is off, or excepts every subset",
        "left out: decontaminated: overlap names no test sets and no titles",
    ):
        assert line in told
    raw, filtered = read_json(tmp_path / "out/ablate/table.json")["rows"]
    assert list(raw["bits_per_byte"]) == ["books", "github", "massiveweb", "weighted mean"]
    assert filtered["difference"]["books"]["mean"] != 0
