"""Batches, and the buffers that kernels see."""

from itertools import pairwise

import pyarrow as pa
import pytest

from massivetext.document import (
    DOCUMENT,
    BatchBuilder,
    DeadLetter,
    DeadLetters,
    metadata_json,
    text_buffers,
)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("window", [slice(0, 4), slice(1, 3), slice(2, 2)])
def test_text_buffers_see_every_row_of_a_slice(kind, window):
    texts = ["", "añb", "\0", "漢字"]
    column = pa.array(texts, kind)[window.start : window.stop]
    data, offsets = text_buffers(column)
    rows = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    assert rows == texts[window]
    assert offsets.dtype == "int64"
    assert len(offsets) == len(column) + 1


def test_text_buffers_refuse_nulls_and_other_types():
    with pytest.raises(ValueError, match="nulls"):
        text_buffers(pa.array(["a", None]))
    with pytest.raises(TypeError, match="int64"):
        text_buffers(pa.array([1]))


def test_batches_are_cut_by_rows_and_by_bytes():
    builder = BatchBuilder(DOCUMENT, rows=3, size=100)
    sizes = [10, 10, 10, 100, 1]
    batches = [builder.add(n, id=str(i), text="x", source="s") for i, n in enumerate(sizes)]
    assert [b.num_rows if b else None for b in batches] == [None, None, 3, 1, None]
    last = builder.flush()
    assert last.column("id").to_pylist() == ["4"]
    assert last.column("url").to_pylist() == [None]
    assert builder.flush() is None


def test_dead_letters_keep_the_start_of_the_payload():
    dead = DeadLetters()
    dead.add(DeadLetter("a#1", "measure", "a", "line 2: bad", b"x" * 5000))
    row = dead.to_batch().to_pylist()[0]
    assert (row["id"], row["error"], len(row["payload"])) == ("a#1", "line 2: bad", 4096)


def test_metadata_is_canonical():
    assert metadata_json({}) is None
    assert metadata_json({"b": 1, "a": "é"}) == '{"a": "é", "b": 1}'
