"""Records: the framing as TensorFlow's, the Example as protobuf's own parser reads it."""

import io
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.errors import InputError
from massivetext.tfrecord import MAX_INTEGER, layout, masked_crc


def example_class():
    """tf.train.Example, declared here from its published .proto."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields, parent=file.message_type):
        added = parent.add(name=name)
        for number, (label, kind, type_name) in enumerate(fields, 1):
            field = added.field.add(name=f"f{number}", number=number, label=label, type=kind)
            if type_name:
                field.type_name = type_name
        return added

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    inner = kinds.TYPE_MESSAGE
    message("BytesList", (many, kinds.TYPE_BYTES, ""))
    message("FloatList", (many, kinds.TYPE_FLOAT, ""))
    message("Int64List", (many, kinds.TYPE_INT64, ""))
    message("Feature", *((one, inner, f".t.{kind}List") for kind in ("Bytes", "Float", "Int64")))
    features = message("Features", (many, inner, ".t.Features.Entry"))
    entry = features.nested_type.add(name="Entry")
    entry.field.add(name="key", number=1, label=one, type=kinds.TYPE_STRING)
    entry.field.add(name="value", number=2, label=one, type=inner, type_name=".t.Feature")
    message("Example", (one, inner, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


EXAMPLE = example_class()


def encode(width=9, dtype="uint16", n=5, seed=0):
    random = np.random.default_rng(seed)
    tokens = random.integers(0, np.iinfo(dtype).max + 1, (n, width)).astype(dtype)
    subset, epoch = random.integers(0, 200, (2, n))
    sequence = random.integers(0, MAX_INTEGER + 1, n)
    return (tokens, subset, sequence, epoch), layout(width, dtype).encode(
        tokens, subset, sequence, epoch
    )


def data_of(records):
    return np.frombuffer(records.tobytes(), np.uint8)


@settings(deadline=None)
@given(
    st.integers(1, 300),
    st.sampled_from(["uint16", "uint32"]),
    st.integers(0, 7),
    st.integers(0, 2**32),
)
def test_protobuf_and_the_framing_of_tensorflow_read_the_records(width, dtype, n, seed):
    (tokens, subset, sequence, epoch), records = encode(width, dtype, n, seed)
    file = io.BytesIO(records.tobytes())
    for row in range(n):
        assert file.tell() == row * layout(width, dtype).record_bytes
        length = file.read(8)
        (count,) = struct.unpack("<Q", length)
        assert struct.unpack("<I", file.read(4))[0] == tensorflow_crc(length)
        data = file.read(count)
        assert struct.unpack("<I", file.read(4))[0] == tensorflow_crc(data)
        found = {entry.key: entry.value for entry in EXAMPLE.FromString(data).f1.f1}
        assert sorted(found) == ["epoch", "sequence", "subset", "tokens"]
        assert list(found["epoch"].f3.f1) == [epoch[row]]
        assert list(found["sequence"].f3.f1) == [sequence[row]]
        assert list(found["subset"].f3.f1) == [subset[row]]
        little = tokens.dtype.newbyteorder("<")
        assert list(found["tokens"].f1.f1) == [tokens[row].astype(little).tobytes()]
    assert not file.read()
    read = layout(width, dtype).decode(data_of(records), Path("x"), 0, True)
    assert read.beyond == -1
    assert read.tokens.dtype == dtype
    for got, expected in zip(read[:4], (tokens, subset, sequence, epoch), strict=True):
        assert np.array_equal(got, expected)


def tensorflow_crc(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def test_beam_reads_the_records():
    from apache_beam.io.tfrecordio import _TFRecordUtil

    _, records = encode()
    file = io.BytesIO(records.tobytes())
    payloads = [_TFRecordUtil.read_record(file) for _ in range(5)]
    assert [len(EXAMPLE.FromString(payload).f1.f1) for payload in payloads] == [4] * 5
    assert _TFRecordUtil.read_record(file) is None


def test_the_widths_and_bytes_of_the_format():
    """Never change without a new version of the format: readers compute offsets from them."""
    assert layout(2049, "uint16").record_bytes == 4204
    assert layout(2049, "uint32").record_bytes == 8302
    tokens = np.array([[1, 515]], np.uint16)
    record = layout(2, "uint16").encode(tokens, np.array([3]), np.array([300]), np.array([1]))
    assert record.tobytes().hex() == (
        "59000000000000008a1d65b60a570a130a0565706f6368120a1a080a068180808080000a160a0873"
        "657175656e6365120a1a080a06ac82808080000a140a06737562736574120a1a080a068380808080"
        "000a120a06746f6b656e7312080a060a040100030219e38b7a"
    )


def test_masked_crc_of_a_known_string():
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); rotated by 15 and offset.
    assert masked_crc(b"123456789") == (0x2507C60D + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_records_taken_three_at_a_time_are_those_of_each_alone(count):
    columns, records = encode(n=count)
    for row in range(count):
        [alone] = layout(9, "uint16").encode(*(column[row : row + 1] for column in columns))
        assert records[row].tobytes() == alone.tobytes()
        broken = records.copy()
        broken["tokens"][row:, 3] ^= 1
        message = rf"x: record {5 + row} at byte .* its CRC-32C is wrong"
        with pytest.raises(InputError, match=message):
            layout(9, "uint16").decode(data_of(broken), Path("x"), 5, True)
        unchecked = layout(9, "uint16").decode(data_of(broken), Path("x"), 5, False)
        assert np.array_equal(unchecked.tokens, broken["tokens"])


@pytest.mark.parametrize(("dtype", "largest"), [("uint16", 65535), ("uint32", 2**32 - 1)])
def test_the_first_record_beyond_the_vocabulary_is_named(dtype, largest):
    (tokens, *columns), _ = encode(dtype=dtype, n=8)
    tokens %= 1000
    tokens[3, 8], tokens[5, 0] = 1000, largest
    record = layout(9, dtype)
    data = data_of(record.encode(tokens, *columns))
    for vocab_size, row in ((1000, 3), (1001, 5), (largest, 5), (largest + 1, -1)):
        assert record.decode(data, Path("x"), 0, True, vocab_size).beyond == row
        assert record.decode(data, Path("x"), 0, False, vocab_size).beyond == -1


def test_columns_of_other_types_and_strides_give_the_same_bytes():
    (tokens, subset, sequence, epoch), records = encode(n=6)
    twice = np.repeat(tokens, 2, axis=1)[:, ::2].astype(np.int64)
    columns = subset.astype(np.uint16), np.repeat(sequence, 2)[::2], epoch.astype(np.int32)
    assert layout(9, "uint16").encode(twice, *columns).tobytes() == records.tobytes()


@pytest.mark.parametrize("value", [-1, MAX_INTEGER + 1])
def test_integers_that_do_not_fit_are_refused(value):
    columns = [np.array([0]), np.array([value]), np.array([0])]
    with pytest.raises(ValueError, match="outside"):
        layout(2, "uint16").encode(np.zeros((1, 2), np.uint16), *columns)


@pytest.mark.parametrize(("width", "rows"), [(8, 3), (10, 3), (9, 2), (9, 4)])
def test_tokens_of_another_shape_are_refused(width, rows):
    integers = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match=rf"shape \({rows}, {width}\) are not 3 records of 9"):
        layout(9, "uint16").encode(np.zeros((rows, width), np.uint16), *[integers] * 3)


def test_every_flipped_bit_is_found_with_record_and_offset():
    _, records = encode(width=4)
    size = layout(4, "uint16").record_bytes
    for byte in range(size):
        for bit in (0, 7):
            broken = bytearray(records.tobytes())
            broken[3 * size + byte] ^= 1 << bit
            view = np.frombuffer(bytes(broken), np.uint8)
            with pytest.raises(InputError, match=rf"x: record 13 at byte {13 * size:,} is corrupt"):
                layout(4, "uint16").decode(view, Path("x"), 10, True)
