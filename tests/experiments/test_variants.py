"""The variants of a build: which sections each changes, and what of the whole each takes over."""

from dataclasses import replace
from pathlib import Path

import pytest

from massivetext.config import (
    Config,
    Deduplicate,
    HeldOut,
    Language,
    Overlap,
    Spans,
    Subset,
    Tokenizer,
)
from massivetext.config_rules import RuleGroup, RuleName
from massivetext.dataset import write_json
from massivetext.experiments.variants import adopt, edits_text, variants

ROOT = Path("/out")
KEPT_OUT = [Path("/out/ablate/heldout/massiveweb.jsonl")]
CONFIG = Config(
    output="/out",
    subsets={
        "massiveweb": Subset(input=("w",)),
        "c4": Subset(input=("c",), rules=(RuleName.C4, RuleName.GOPHER)),
        "github": Subset(input=("g",)),
    },
    seed=3,
    language=Language(model="lid.bin"),
    deduplicate=Deduplicate(keep_shingles=True, by_url=True, jaccard=0.7),
    overlap=Overlap(test_sets=("t.jsonl",), wikipedia_titles=("titles",), containment=0.5),
    heldout=HeldOut(fraction=0.1),
    tokenizer=Tokenizer(vocab_size=600),
)


def by_name(config=CONFIG):
    return {variant.name: variant for variant in variants(config, ROOT, KEPT_OUT)}


def test_every_variant_runs_one_more_stage_than_the_one_before():
    found = by_name()
    assert list(found) == ["raw", "filtered", "de-repeated", "deduplicated", "decontaminated"]
    assert not any(variant.missing for variant in found.values())
    web = [RuleName.LANGUAGE, RuleName.QUALITY]
    c4 = [RuleName.QUALITY, RuleName.C4]
    repetition = RuleName.REPETITION
    rules = {
        name: [list(subset.rules) for subset in variant.config.subsets.values()]
        for name, variant in found.items()
    }
    assert rules["raw"] == [[], [], []]
    assert rules["filtered"] == [web, c4, []]
    for name in ("de-repeated", "deduplicated", "decontaminated"):
        assert rules[name] == [[*web, repetition], [c4[0], repetition, c4[1]], []]
    off = replace(CONFIG.deduplicate, enabled=False)
    on = replace(CONFIG.deduplicate, keep_shingles=False)
    assert [v.config.deduplicate for v in found.values()] == [off, off, off, on, on]
    kept_out = ("/out/ablate/heldout/massiveweb.jsonl",)
    plain = replace(CONFIG.overlap, test_sets=kept_out, wikipedia_titles=())
    whole = replace(CONFIG.overlap, test_sets=(*kept_out, "t.jsonl"))
    assert [v.config.overlap for v in found.values()] == [plain] * 4 + [whole]


def test_the_rest_of_the_config_is_the_same_in_all():
    sections = ("subsets", "deduplicate", "overlap")
    tokenizer = Tokenizer(vocab_size=600, model="/out/tokenizer/tokenizer.model")
    for variant in variants(CONFIG, ROOT, KEPT_OUT):
        expected = replace(
            CONFIG,
            **{name: getattr(variant.config, name) for name in sections},
            output=f"/out/ablate/{variant.name}",
            heldout=HeldOut(fraction=0.0),
            tokenizer=tokenizer,
        )
        assert variant.config == expected
        for name, subset in variant.config.subsets.items():
            assert replace(subset, rules=None) == replace(CONFIG.subsets[name], rules=None)


def test_the_rules_of_the_whole_are_those_that_the_config_means():
    whole = by_name()["decontaminated"].config
    assert {n: whole.rules(n) for n in whole.subsets} == {
        n: CONFIG.rules(n) for n in CONFIG.subsets
    }
    assert RuleGroup.REPETITION in whole.rules("massiveweb")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        (
            {"subsets": {"github": Subset(input=("g",))}},
            {"filtered", "de-repeated", "deduplicated"},
        ),
        (
            {"subsets": {"books": Subset(input=("b",), rules=(RuleName.REPETITION,))}},
            {"filtered"},
        ),
        ({"subsets": {"c4": Subset(input=("c",), rules=(RuleName.QUALITY,))}}, {"de-repeated"}),
        ({"deduplicate": Deduplicate(enabled=False)}, {"deduplicated"}),
        ({"deduplicate": Deduplicate(except_=("massiveweb", "c4", "github"))}, {"deduplicated"}),
        ({"overlap": Overlap()}, {"decontaminated"}),
        ({"overlap": Overlap(wikipedia_titles=("titles",))}, set()),
    ],
)
def test_a_stage_that_the_config_does_not_have_is_missing(changes, missing):
    found = by_name(replace(CONFIG, **changes))
    assert {name for name, variant in found.items() if variant.missing} == missing


def test_which_stages_cut_text():
    assert edits_text(CONFIG)  # c4's lines
    plain = replace(CONFIG, subsets={"books": Subset(input=("b",))})
    assert not edits_text(plain)
    assert edits_text(replace(plain, deduplicate=Deduplicate(spans=Spans.LINES)))
    assert not edits_text(replace(plain, deduplicate=Deduplicate(spans=Spans.LINES, enabled=False)))


def finished(root, name, text):
    """A stage of the whole build with one file."""
    path = root / name / "part-00000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    write_json(
        root / "manifests" / f"{name}.json",
        {"key": text, "files": [{"path": f"{name}/part-00000.parquet"}]},
    )


def test_finished_stages_of_the_whole_are_linked_where_they_are_the_variants_own(tmp_path):
    config = replace(CONFIG, output=str(tmp_path))
    for name in ("measure", "clean", "sketch", "deduplicate", "overlap"):
        finished(tmp_path, name, "one")
    taken = {}
    for variant in variants(config, tmp_path, KEPT_OUT):
        adopt(tmp_path, config, variant.config)
        folder = Path(variant.config.output)
        taken[variant.name] = sorted(p.stem for p in folder.glob("manifests/*.json"))
        for name in taken[variant.name]:
            linked = folder / name / "part-00000.parquet"
            assert linked.samefile(tmp_path / name / "part-00000.parquet")
    duplicates = ["clean", "deduplicate", "measure", "sketch"]
    assert list(taken.values()) == [[], [], ["clean", "measure"], duplicates, duplicates]


def test_a_variant_is_kept_while_the_whole_is_the_same_and_begun_anew_when_not(tmp_path):
    config = replace(CONFIG, output=str(tmp_path))
    finished(tmp_path, "measure", "one")
    variant = variants(config, tmp_path, KEPT_OUT)[2].config
    adopt(tmp_path, config, variant)
    own = Path(variant.output) / "dropped/near/gone.parquet"
    own.parent.mkdir(parents=True)
    own.write_text("a drop list")
    adopt(tmp_path, config, variant)
    assert own.exists()
    finished(tmp_path, "measure", "two")
    adopt(tmp_path, config, variant)
    assert not own.exists()
    assert (Path(variant.output) / "measure/part-00000.parquet").read_text() == "two"
