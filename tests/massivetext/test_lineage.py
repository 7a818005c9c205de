"""Stages that an earlier stage has overtaken are found."""

import pytest

from massivetext.dataset import sha256_json
from massivetext.lineage import documents_identity, stale, tokens_identity


@pytest.fixture
def manifests():
    found = {"measure": {"key": "m", "depends": {}, "files": []}}

    def add(stage, **depends):
        found[stage] = {"key": stage, "depends": depends, "files": []}

    def digests(*stages):
        return [sha256_json(found[stage]) for stage in stages]

    add("clean", measured=digests("measure")[0])
    add("sketch", upstream=digests("measure", "clean"))
    add("deduplicate", sketch=digests("sketch")[0])
    add("overlap", upstream=digests("measure", "clean", "deduplicate"))
    add("documents", upstream=digests("measure", "clean", "deduplicate", "overlap"))
    found["documents"].update(subsets={}, heldout={})
    add("tokenizer")
    add("tokens", documents=documents_identity(found["documents"]))
    add("shards", tokens=tokens_identity(found["tokens"]))
    return found


def test_nothing_is_stale_after_a_whole_build(manifests):
    assert stale(manifests) == []


def test_a_new_decision_makes_all_that_follows_stale(manifests):
    manifests["clean"]["key"] = "another threshold"
    assert stale(manifests) == [
        "sketch",
        "deduplicate",
        "overlap",
        "documents",
        "tokenizer",
        "tokens",
        "shards",
    ]


def test_a_stage_whose_source_is_gone_is_stale(manifests):
    del manifests["tokens"]
    assert stale(manifests) == ["shards"]


def test_the_same_documents_made_anew_leave_the_tokens_valid(manifests):
    manifests["documents"]["key"] = "made again"
    assert stale(manifests) == []
