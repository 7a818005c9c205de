"""The Arrow coders: lossless, slices stay small, registered."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.pipeline_context import PipelineContext
from hypothesis import given
from hypothesis import strategies as st

from massivetext.pipelines.coders import RecordBatchCoder, TableCoder

ROWS = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.none() | st.text()), max_size=20)


def batch(rows):
    return pa.record_batch(
        {
            "key": pa.array([key for key, _ in rows], pa.uint64()),
            "text": pa.array([text for _, text in rows], pa.string()),
        }
    )


@given(ROWS)
def test_a_batch_survives(rows):
    coder = RecordBatchCoder()
    decoded = coder.decode(coder.encode(batch(rows)))
    assert isinstance(decoded, pa.RecordBatch)
    assert decoded.equals(batch(rows))


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_a_table_survives_and_its_bytes_do_not_depend_on_chunks(parts):
    coder = TableCoder()
    table = pa.Table.from_batches([batch(rows) for rows in parts])
    whole = pa.Table.from_batches([batch([row for rows in parts for row in rows])])
    assert coder.decode(coder.encode(table)).equals(table)
    assert coder.encode(table) == coder.encode(whole)


def test_a_table_without_rows_keeps_its_schema():
    table = batch([]).schema.empty_table()
    assert TableCoder().decode(TableCoder().encode(table)).equals(table)


def test_a_slice_does_not_carry_its_parent():
    parent = batch([(i, "x" * 100) for i in range(8000)])
    part = parent.slice(100, 64)
    encoded = RecordBatchCoder().encode(part)
    assert len(encoded) < 64 * 200
    assert RecordBatchCoder().decode(encoded).equals(part)
    assert encoded == RecordBatchCoder().encode(batch([(i, "x" * 100) for i in range(100, 164)]))


def test_the_coders_are_registered():
    registry = beam.coders.registry
    assert isinstance(registry.get_coder(pa.RecordBatch), RecordBatchCoder)
    assert isinstance(registry.get_coder(pa.Table), TableCoder)
    assert registry.get_coder(pa.Table) == TableCoder() != RecordBatchCoder()
    assert RecordBatchCoder().is_deterministic()


def test_the_coder_pickles_and_names_its_type():
    context = PipelineContext()
    coder = beam.coders.Coder.from_runner_api(RecordBatchCoder().to_runner_api(context), context)
    assert coder == RecordBatchCoder()
    assert coder.to_type_hint() is pa.RecordBatch
