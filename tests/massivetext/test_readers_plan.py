import dataclasses
import json
import os
import random
import shutil

import pytest

from massivetext import readers
from massivetext.config import Format, Subset
from massivetext.errors import ConfigError
from massivetext.readers import split


def write(root, *names, data=b"{}"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def subset(*inputs, kind=Format.JSONL, **more):
    return Subset(tuple(map(str, inputs)), format=kind, **more)


def names(splits):
    return [name for part in splits for name in part.names]


def test_globs_are_expanded_sorted_and_unique(tmp_path):
    write(tmp_path, "b/2.jsonl", "b/1.jsonl", "a/x/y.jsonl", "a/.hidden.jsonl", "a/z.txt")
    inputs = [tmp_path / "**/*.jsonl", tmp_path / "b/*.jsonl", tmp_path / "b/../b/1.jsonl"]
    expected = ["a/x/y.jsonl", "b/1.jsonl", "b/2.jsonl"]
    for seed in range(5):
        random.Random(seed).shuffle(inputs)
        splits = readers.plan(subset(*inputs), "s")
        assert names(splits) == expected
        assert [part.paths for part in splits] == [(str(tmp_path / name),) for name in expected]
    assert splits[0].bytes == 2
    json.dumps(dataclasses.asdict(splits[0]))


def test_names_are_relative_to_the_common_fixed_folder(tmp_path):
    write(tmp_path, "in/a/1.jsonl", "in/b/2.jsonl")
    assert names(readers.plan(subset(tmp_path / "in/a/1.jsonl"), "s")) == ["1.jsonl"]
    both = subset(tmp_path / "in/a/*.jsonl", tmp_path / "in/b/2.jsonl")
    assert names(readers.plan(both, "s")) == ["a/1.jsonl", "b/2.jsonl"]
    assert names(readers.plan(subset(tmp_path / "in/*/*.jsonl"), "s")) == ["a/1.jsonl", "b/2.jsonl"]


def test_folders_are_walked(tmp_path):
    write(tmp_path, "a.py", "sub/b.py", "sub/c.md", ".git/d.py", "d.jsonl.gz", "e.html")
    files = subset(tmp_path, kind=Format.FILES, include=("*.py",))
    assert names(readers.plan(files, "s")) == ["a.py", "sub/b.py"]
    relative = subset(tmp_path, kind=Format.FILES, include=("sub/*",))
    assert names(readers.plan(relative, "s")) == ["sub/b.py", "sub/c.md"]
    assert names(readers.plan(subset(tmp_path), "s")) == ["d.jsonl.gz"]
    assert names(readers.plan(subset(tmp_path, kind=Format.HTML), "s")) == ["d.jsonl.gz", "e.html"]
    with pytest.raises(ConfigError, match="is a folder; for format warc give a glob"):
        readers.plan(subset(tmp_path, kind=Format.WARC), "s")


def test_small_files_are_grouped(tmp_path, monkeypatch):
    monkeypatch.setattr(split, "GROUP_BYTES", 10)
    write(tmp_path, *(f"{i}.txt" for i in range(5)), data=b"1234")
    splits = readers.plan(subset(tmp_path, kind=Format.FILES), "s")
    assert [part.names for part in splits] == [("0.txt", "1.txt"), ("2.txt", "3.txt"), ("4.txt",)]
    assert [part.name for part in splits] == ["0.txt", "2.txt", "4.txt"]
    assert [part.bytes for part in splits] == [8, 8, 4]
    assert {(part.start, part.stop) for part in splits} == {(0, -1)}
    monkeypatch.setattr(split, "GROUP_BYTES", 12)
    assert len(readers.plan(subset(tmp_path, kind=Format.FILES), "s")) == 2
    monkeypatch.setattr(split, "GROUP_FILES", 1)
    assert len(readers.plan(subset(tmp_path, kind=Format.FILES), "s")) == 5


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("data/wbe/*.jsonl", r"input '.*wbe/\*\.jsonl'.*'wbe' is not in .*; did you mean 'web'\?"),
        ("data/web/a.jsnl", r"does not exist.*did you mean 'a\.jsonl'\?"),
        ("data/web/*.jsnl", r"matches no file; .*web holds: a\.jsonl"),
        ("data/empty", r"holds no matching file; .*empty is empty"),
    ],
)
def test_what_is_missing_is_named(tmp_path, entry, message):
    write(tmp_path, "data/web/a.jsonl")
    (tmp_path / "data/empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        readers.plan(subset(tmp_path / "data/web/*.jsonl", tmp_path / entry), "s")


def test_include_that_matches_nothing(tmp_path):
    write(tmp_path, "a.py")
    with pytest.raises(ConfigError, match=r"\(include: \*\.rs\)"):
        readers.plan(subset(tmp_path, kind=Format.FILES, include=("*.rs",)), "s")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders(tmp_path):
    write(tmp_path, "a.jsonl", "d/b.jsonl")
    (tmp_path / "a.jsonl").chmod(0)
    (tmp_path / "d").chmod(0)
    with pytest.raises(ConfigError, match="cannot open"):
        readers.plan(subset(tmp_path / "a.jsonl"), "s")
    with pytest.raises(ConfigError, match="permissions"):
        readers.plan(subset(tmp_path / "d/*.jsonl"), "s")


def test_a_file_that_cannot_be_opened(tmp_path):
    os.symlink(tmp_path / "gone", tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match=r"cannot open .*a\.jsonl"):
        readers.plan(subset(tmp_path / "*.jsonl"), "s")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match=r"a\.jsonl is no regular file"):
        readers.plan(subset(tmp_path / "*.jsonl"), "s")


def test_names_that_are_not_utf8(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.jsonl", "wb") as file:
        file.write(b"{}")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        readers.plan(subset(tmp_path / "*.jsonl"), "s")


def test_fingerprint_is_of_the_content(tmp_path):
    write(tmp_path, "a/1.jsonl", "a/2.jsonl", data=b"x" * (4 << 20))
    config = subset(tmp_path / "a/*.jsonl")
    splits = readers.plan(config, "s")
    first = readers.fingerprint(splits)
    assert readers.fingerprint(splits[::-1]) == first
    os.utime(tmp_path / "a/1.jsonl", (1, 1))
    assert readers.fingerprint(splits) == first
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    moved = readers.plan(subset(tmp_path / "moved/*.jsonl"), "s")
    assert readers.fingerprint(moved) == first
    for offset in (0, 2 << 20, (4 << 20) - 1):
        with open(tmp_path / "a/1.jsonl", "r+b") as file:
            file.seek(offset)
            file.write(b"y")
        changed = readers.fingerprint(splits)
        assert changed != first
        first = changed
    unnamed = readers.fingerprint(moved)
    os.rename(tmp_path / "moved/1.jsonl", tmp_path / "moved/3.jsonl")
    assert readers.fingerprint(readers.plan(subset(tmp_path / "moved/*.jsonl"), "s")) != unnamed
