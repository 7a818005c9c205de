"""Exchange: every row to the partition of its key, by files and by the engine alike."""

import errno
from collections import Counter
from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.pipeline import PipelineVisitor
from apache_beam.testing.util import assert_that
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from massivetext.pipelines import exact, exchange, near, span_links
from massivetext.pipelines.coders import RecordBatchCoder
from massivetext.pipelines.exchange import Exchange, split_by_key
from massivetext.pipelines.execute import Engine, execute
from massivetext.pipelines.local_runner import LocalRunner


def batch(keys, texts=None, dtype=np.uint64):
    texts = [f"row {key}" for key in keys] if texts is None else texts
    return pa.record_batch(
        {"key": np.array(keys, dtype), "text": pa.array(texts, pa.large_string())}
    )


def rows(table):
    return Counter(zip(table["key"].to_pylist(), table["text"].to_pylist(), strict=True))


def run_dofns(batches, partitions, folder, *, native, key="key"):
    """Apply the transform's DoFns in one bundle, with a dictionary as GroupByKey."""
    grouped = {}
    if native:
        give, join = exchange.batches_of, exchange._Concatenate()
    else:
        give, join = partial(exchange.spill, str(folder)), exchange._ReadPartition()
    cut = exchange._Split(key, partitions, give)
    cut.start_bundle()
    pairs = [pair for one in batches for pair in cut.process(one)]
    pairs += [value.value for value in cut.finish_bundle()]
    for number, value in pairs:
        grouped.setdefault(number, []).append(value)
    return {n: t for pair in grouped.items() for n, t in join.process(pair)}


KEYS = st.integers(0, 2**64 - 1) | st.integers(0, 20)
BATCHES = st.lists(st.lists(st.tuples(KEYS, st.text()), max_size=12), max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES, st.integers(1, 9) | st.integers(1, 2**20))
def test_both_ways_agree_with_a_dictionary(tmp_path, parts, partitions):
    batches = [batch([k for k, _ in part], [t for _, t in part]) for part in parts]
    expected = {}
    for part in parts:
        for key, text in part:
            expected.setdefault(key % partitions, Counter())[(key, text)] += 1
    for native in (False, True):
        found = run_dofns(batches, partitions, tmp_path, native=native)
        assert {number: rows(table) for number, table in found.items()} == expected


def test_the_engine_gets_one_piece_of_many_batches_for_a_partition():
    cut = exchange._Split("key", 3, exchange.batches_of)
    cut.start_bundle()
    batches = [batch([0, 1, 2, 3]), batch([4, 5, 6]), batch([7])]
    assert not [pair for one in batches for pair in cut.process(one)]
    pieces = [value.value for value in cut.finish_bundle()]
    assert [(number, piece["key"].to_pylist()) for number, piece in pieces] == [
        (0, [0, 3, 6]),
        (1, [1, 4, 7]),
        (2, [2, 5]),
    ]


# Of the exchanges of a build, with their keys: lists of any length among fixed widths.
SCHEMAS = [
    ("part", exact.LINK),
    ("part", near.NEAR),
    ("component", near.ROW),
    ("piece", span_links.KEPT),
    ("hash0", pa.schema({"hash0": pa.uint64(), "hash1": pa.uint64(), "repeated": pa.bool_()})),
]


def values(column, count):
    """A strategy for `count` values of an Arrow type."""
    if pa.types.is_large_list(column):
        one = st.lists(st.integers(0, 2**64 - 1), max_size=4)
    elif pa.types.is_boolean(column):
        one = st.booleans()
    elif pa.types.is_floating(column):
        one = st.floats(0, 1)
    else:
        one = st.integers(0, 2**column.bit_width - 1) | st.integers(0, 3)
    return st.lists(one, min_size=count, max_size=count)


@st.composite
def real_batches(draw):
    key, schema = draw(st.sampled_from(SCHEMAS))
    batches = []
    for count in draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)):
        arrays = [pa.array(draw(values(f.type, count)), f.type) for f in schema]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return key, batches


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(real_batches(), st.integers(1, 5) | st.integers(1, 2**20))
def test_both_ways_agree_on_the_schemas_of_a_build(tmp_path, batches, partitions):
    key, batches = batches
    found = [run_dofns(batches, partitions, tmp_path, native=way, key=key) for way in (0, 1)]
    files, native = (
        {number: sorted(map(repr, table.to_pylist())) for number, table in tables.items()}
        for tables in found
    )
    assert files == native
    schema = batches[0].schema
    assert all(table.schema.equals(schema) for tables in found for table in tables.values())
    given_rows = [row for one in batches for row in one.to_pylist()]
    assert sorted(map(repr, given_rows)) == sorted(row for part in files.values() for row in part)
    assert set(files) == {row[key] % partitions for row in given_rows}


def check(expected, partitions):
    def matcher(found):
        assert len(found) == len({number for number, _ in found})
        for number, table in found:
            assert all(key % partitions == number for key in table["key"].to_pylist())
        assert sum((rows(table) for _, table in found), Counter()) == expected

    return matcher


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_in_a_pipeline(tmp_path, native, workers):
    rng = np.random.default_rng(5)
    batches = [batch(rng.integers(0, 50, 300)) for _ in range(12)]
    expected = sum((rows(pa.Table.from_batches([one])) for one in batches), Counter())
    scratch = tmp_path / "made" / "when missing"

    def build(pipeline):
        out = (
            pipeline
            | beam.Create(batches)
            | beam.Reshuffle()
            | Exchange("key", 7, str(scratch), native=native)
        )
        assert out.element_type == tuple[int, pa.Table] or "Table" in str(out.element_type)
        assert_that(out, check(expected, 7))

    execute(build, Engine(workers))
    assert scratch.exists() is not native


def test_the_native_form_needs_no_shared_disk_and_never_pickles():
    pipeline = beam.Pipeline(runner=LocalRunner(1))
    _ = pipeline | beam.Create([batch([1])]) | Exchange("key", 2, "/nowhere", native=True)
    coders = pipeline.to_runner_api().components.coders.values()
    assert not [coder for coder in coders if "pickled_data" in coder.spec.urn]


def test_equal_keys_keep_their_order_and_partitions_come_in_order():
    one, two = batch([5, 2, 5, 3], list("abcd")), batch([2, 5], list("ef"))
    out = [(n, t["text"].to_pylist()) for n, t in split_by_key([one, two], "key", 3)]
    assert out == [(0, ["d"]), (2, ["a", "b", "c", "e", "f"])]


def test_a_32_bit_key_and_more_partitions_than_16_bits():
    table = batch([70_000, 1, 70_000], dtype=np.uint32)
    assert [(n, t.num_rows) for n, t in split_by_key([table], "key", 100_000)] == [
        (1, 1),
        (70_000, 2),
    ]


def test_a_full_buffer_is_written_before_more_is_taken(tmp_path, monkeypatch):
    one = batch(range(100))
    monkeypatch.setattr(exchange, "BUFFER_BYTES", 2 * one.nbytes)
    spill = exchange._Split("key", 4, partial(exchange.spill, str(tmp_path)))
    spill.start_bundle()
    assert list(spill.process(one)) == []
    assert list(spill.process(one)) == []
    assert [number for number, _ in spill.process(one)] == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 1
    assert len(list(spill.finish_bundle())) == 4
    assert len(list(tmp_path.iterdir())) == 2


def test_a_bundle_without_rows_writes_nothing(tmp_path):
    assert run_dofns([batch([])], 3, tmp_path, native=False) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pa.record_batch({"other": [1]}), "exchange by 'key', but the columns are other"),
        (pa.record_batch({"key": [1]}), "int64 with 0 nulls"),
        (pa.record_batch({"key": pa.array([1, None], pa.uint64())}), "uint64 with 1 nulls"),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_a_wrong_key(tmp_path, wrong, message, native):
    with pytest.raises(ValueError, match=message):
        run_dofns([wrong], 3, tmp_path, native=native)


@pytest.mark.parametrize("native", [False, True])
def test_schemas_that_differ(tmp_path, native):
    other = pa.record_batch({"key": pa.array([1], pa.uint64())})
    with pytest.raises(ValueError, match="differ in schema: key uint64, text large_string and key"):
        run_dofns([batch([1]), other], 3, tmp_path, native=native)


@pytest.mark.parametrize("partitions", [0, 2**32])
def test_wrong_partitions(partitions):
    with pytest.raises(ValueError, match=f"partitions is {partitions}"):
        Exchange("key", partitions, "scratch")


def test_a_scratch_that_cannot_be_written_names_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write a spill file.*file/\w+\.arrows"):
        run_dofns([batch([1])], 3, tmp_path / "file", native=False)


def test_a_full_disk_names_the_path_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exchange.pa.ipc, "new_stream", full)
    with pytest.raises(OSError, match=r"No space left on device.*\.arrows") as caught:
        run_dofns([batch([1])], 3, tmp_path, native=False)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_rows_travel_in_a_coder_of_our_own():
    """What Beam does not know the type of, it pickles."""
    pipeline = beam.Pipeline(runner=LocalRunner())
    _ = pipeline | beam.Create([batch([1])]) | "Rows" >> Exchange("key", 2, "", native=True)
    kinds = {}

    class Look(PipelineVisitor):
        def visit_transform(self, node):
            kinds[node.full_label] = node.outputs[None].element_type

    pipeline.visit(Look())
    coder = beam.coders.registry.get_coder(kinds["Rows/Partition"])
    assert isinstance(coder.key_coder(), beam.coders.VarIntCoder)
    assert isinstance(coder.value_coder(), RecordBatchCoder)
