"""What stops a build before any work, each with file, line and key."""

import pytest

from massivetext.config_file import parse
from massivetext.errors import ConfigError
from massivetext.pipelines.plan import check

HEAD = "output: {root}/out\nsubsets:\n  books: {{input: '{root}/*.jsonl'}}\n"


@pytest.fixture
def head(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "lid.ftz").write_text("")
    return HEAD.format(root=tmp_path)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("  web: {{input: '{root}/*.warc.gz', format: warc}}", r"my.yaml:4: subsets.web.input: .*"),
        ("language: {{model: '{root}/lid.ft'}}", r"my.yaml:4: language.model: .*'lid\.ftz'"),
        ("safety: {{words: /nowhere/at/all}}", r"safety.words: there is no file /nowhere/at/all"),
        ("overlap: {{test_sets: '{root}/*.gz'}}", r"my.yaml:4: overlap: .*matches no file"),
        (
            "  web: {{input: '{root}/*.jsonl', rules: [safety]}}",
            r"my.yaml:4: the rule safety of web needs a section 'safety'",
        ),
        ("deduplicate: {{except: [book]}}", r"my.yaml:4: .*no subset 'book'; did you mean 'books'"),
        ("mixture: {{weights: {{book: 1.0}}}}", r"my.yaml:4: mixture: .*book"),
        ("mixture: {{preset: gpt3}}", r"my.yaml:4: mixture: .*books"),
    ],
)
def test_mistakes_are_found_before_any_work(head, tmp_path, extra, expected):
    with pytest.raises(ConfigError, match=expected):
        check(parse(head + extra.format(root=tmp_path) + "\n", "my.yaml"))
    assert not (tmp_path / "out").exists()


def test_an_output_on_no_store_is_named_by_its_key(head):
    text = "\n".join(
        "output: s4://bucket/out" if line.startswith("output:") else line
        for line in head.splitlines()
    )
    with pytest.raises(ConfigError, match=r"my.yaml:\d: output: s4://bucket/out.*mean 's3'"):
        check(parse(text + "\n", "my.yaml"))


def test_the_plan_says_what_each_stage_does(head, tmp_path):
    lines = check(parse(head + "mixture: {tokens: 1000}\n", "my.yaml"))
    assert lines == [
        "read      books: 1 files (jsonl), 14 B; rules: none",
        "overlap   off: overlap.test_sets is empty, so nothing is compared",
        "dedupe    books: 13-gram Jaccard above 0.8",
        "mixture   1,000 tokens: books 1",
    ]
