"""A build whose inputs and output are on an object store gives the bytes of one on a disk."""

import hashlib
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext import storage
from massivetext.cli.main import main
from massivetext.config import FieldNames, Format, Subset
from massivetext.config_file import parse
from massivetext.document import DeadLetters
from massivetext.errors import ConfigError, StageError
from massivetext.pipelines import documents
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.plan import check
from massivetext.readers import fingerprint, plan, read
from massivetext.storage import location
from massivetext.test_sets import expand, named_files
from tests.object_store import server, upload

from . import corpus

PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@pytest.fixture(scope="module")
def store():
    with server() as url:
        yield url


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """A corpus on a disk and on the store, with its config, and the build of it on the disk."""
    root = tmp_path_factory.mktemp("local")
    text = corpus.make(root)
    upload(root / "data", "corpus/data")
    return root, text, run(text)


def run(text, engine=None):
    """Build; return the sha256 of every output."""
    loaded = parse(text, "test.yaml")
    check(loaded)
    root = location(loaded.config.output)
    build(Context(root, engine or Engine(workers=1), quiet=True), loaded.config)
    names = [name for name in storage.sizes(root) if name not in (".lock", "config.yaml")]
    contents = storage.read_all([root / name for name in names])
    return {n: hashlib.sha256(c).hexdigest() for n, c in zip(names, contents, strict=True)}


def on_store(made, output):
    root, text, _ = made
    text = text.replace(f"{root}/out", f"s3://bucket/{output}")
    return text.replace(str(root), "s3://bucket/corpus")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [Engine(workers=1), Engine(1, PORTABLE)], ids=["ours", "beam's"])
def test_outputs_are_the_same_bytes(made, engine):
    name = "out-native" if engine.beam_args else "out"
    outputs = run(on_store(made, name), engine)
    assert len(outputs) > 80
    assert outputs == made[2]


@pytest.mark.slow
def test_a_build_that_failed_half_way_goes_on(made, monkeypatch):
    text = on_store(made, "half")
    run_stage = documents.run

    def fail(*args):
        raise StageError("stopped on purpose")

    monkeypatch.setattr(documents, "run", fail)
    with pytest.raises(StageError, match="on purpose"):
        run(text)
    root = location("s3://bucket/half")
    assert not storage.exists(root / ".claim")
    before = {n: storage.modified(root / n) for n in storage.sizes(root) if "measured/" in n}
    monkeypatch.setattr(documents, "run", run_stage)
    assert run(text) == made[2]
    assert before == {n: storage.modified(root / n) for n in before}


def records(subset, name="books"):
    dead = DeadLetters()
    rows = [
        row
        for split in plan(subset, name)
        for batch in read(split, subset, name, dead, lambda count: None)
        for row in batch.to_pylist()
    ]
    return rows, [vars(letter) for letter in dead.letters]


def test_every_format_reads_from_a_store_as_from_a_disk(store, tmp_path):
    folder = tmp_path / "data"
    lines = [{"text": f"line {i}", "url": f"http://x/{i}"} for i in range(5)]
    corpus.write_jsonl(folder / "a/plain.jsonl", lines)
    corpus.write_jsonl(folder / "a/b/packed.jsonl.gz", lines[:3])
    (folder / "a/b/cut.jsonl.gz").write_bytes((folder / "a/b/packed.jsonl.gz").read_bytes()[:-9])
    corpus.write_warc(folder / "web/w.warc.gz", [("http://x/", b"<p>one</p>"), ("http://y/", b"")])
    table = pa.table({"body": ["first", None, "third"], "n": [1, 2, 3]})
    pq.write_table(table, folder / "t.parquet", row_group_size=2)
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    (folder / "code/.hidden").mkdir(parents=True)
    for name in ("m.py", "n.txt", ".p.py", ".hidden/q.py"):
        (folder / "code" / name).write_text(f"# {name}\n")
    upload(folder, "formats")
    subsets = [
        Subset(("{}/a/*.jsonl",)),
        Subset(("{}/a",)),
        Subset(("{}/a/**/*.gz", "{}/a/plain.jsonl")),
        Subset(("{}/web/*.warc.gz",), Format.WARC),
        Subset(("{}/*.parquet",), Format.PARQUET, fields=FieldNames(text="body")),
        Subset(("{}/code",), Format.FILES, include=("*.py",)),
        Subset(("{}/co?e/*",), Format.FILES),
    ]
    for subset in subsets:
        found = []
        for root in (str(folder), "s3://bucket/formats"):
            inputs = tuple(entry.format(root) for entry in subset.input)
            one = Subset(inputs, subset.format, None, subset.include, (), subset.fields)
            splits = plan(one, "books")
            parts = [(s.name, s.names, s.bytes, s.start, s.stop) for s in splits]
            found.append((parts, fingerprint(splits), records(one)))
        assert found[0] == found[1], subset


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (("s3://bucket/none/*.jsonl",), "matches no file; it was looked for below s3://bucket/n"),
        (("s3://bucket/none.jsonl",), "there is nothing at s3://bucket/none.jsonl"),
        (("s3://no-such-bucket/a/*",), "cannot list s3://no-such-bucket/a: .*correct its name"),
        (("s3://bucket/a", "/tmp"), "the inputs are on different stores"),
        (("s9://bucket/a",), "there is no store 's9'; did you mean 's3'"),
    ],
)
def test_inputs_that_are_not_there_are_refused(store, inputs, message):
    with pytest.raises(ConfigError, match=message):
        plan(Subset(inputs), "books")


def test_a_folder_of_parquet_needs_a_glob(store):
    storage.write_bytes(location("s3://bucket/tables/t.parquet"), b"")
    with pytest.raises(ConfigError, match=r"is a folder; .*s3://bucket/tables/\*\*/\*\.parquet"):
        plan(Subset(("s3://bucket/tables/",), Format.PARQUET), "books")


def test_test_sets_are_found_by_globs(store):
    for name in ("a/test.jsonl", "b/test.jsonl"):
        storage.write_bytes(location(f"s3://bucket/sets/{name}"), b'{"text": "x"}\n')
    paths = ["s3://bucket/sets/a/test.jsonl", "s3://bucket/sets/b/test.jsonl"]
    assert expand(["s3://bucket/sets/**/*.jsonl", paths[0]]) == paths
    assert named_files(["s3://bucket/sets/*/*"]) == dict(
        zip(("a/test.jsonl", "b/test.jsonl"), paths, strict=True)
    )
    with pytest.raises(ConfigError, match="matches no file"):
        expand(["s3://bucket/sets/*.txt"])


def test_an_output_in_a_bucket_that_is_not_there_is_refused_without_a_trace(
    store, tmp_path, capsys
):
    text = corpus.make(tmp_path).replace(f"{tmp_path}/out", "s3://no-such-bucket/out")
    (tmp_path / "config.yaml").write_text(text)
    assert main(["build", str(tmp_path / "config.yaml")]) == ConfigError.exit_code
    told = capsys.readouterr().err
    assert re.search("output s3://no-such-bucket/out cannot be written: .*make the bucket", told)
    assert "Traceback" not in told


@pytest.mark.parametrize("command", [["verify"], ["why"], ["card"], ["thresholds"]])
def test_commands_that_read_folders_say_to_copy_it(command, capsys):
    arguments = [*command, "s3://bucket/out", *(["books/x#1"] if command == ["why"] else [])]
    assert main(arguments) == ConfigError.exit_code
    assert "copy it here" in capsys.readouterr().err
