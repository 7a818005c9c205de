"""Fill-in-the-middle: kernels against a slow reference, frozen draws, uniform cuts."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import FillInTheMiddle
from massivetext.config_file import parse
from massivetext.errors import ConfigError
from massivetext.fill_in_the_middle import PLAIN, PSM, SENTINELS, SPM, join, split
from massivetext.hashing import hash_string

MASK = 2**64 - 1
ALWAYS = FillInTheMiddle(rate=1.0)
IDS = (101, 102, 103)  # prefix, middle, suffix
EOS = 1
# One to four bytes, combining marks, an emoji of several code points.
TEXT = st.text(st.sampled_from("a\n é\u0301\u2581中\u0fff😀\u200d\0"), max_size=40)
TEXTS = st.lists(st.one_of(TEXT, st.text(max_size=600)), max_size=8)


def mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def reference(text: str, name: str, rule: FillInTheMiddle, seed: int) -> tuple[int, list[str]]:
    """Return the order and the parts of one document."""
    key = hash_string(name, seed ^ 0x46494D)
    draws = [mix((key + i * 0x9E3779B97F4A7C15) & MASK) for i in range(4)]
    if not text or (draws[0] >> 11) * 2.0**-53 >= rule.rate:
        return PLAIN, [text]
    low, high = sorted(draw % (len(text) + 1) for draw in draws[2:])
    order = SPM if (draws[1] >> 11) * 2.0**-53 < rule.spm_rate else PSM
    return order, [text[:low], text[low:high], text[high:]]


def cut(texts: list[str], names: list[str], rule: FillInTheMiddle, seed: int = 1):
    column, ids = pa.array(texts, pa.large_string()), pa.array(names, pa.string())
    parts, orders = split(column, ids, rule, seed)
    parts.validate(full=True)
    return parts.to_pylist(), orders.tolist()


def names(count: int) -> list[str]:
    return [f"document-{i}" for i in range(count)]


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**63 - 1))
def test_split_is_the_reference(texts, rate, spm_rate, seed):
    rule = FillInTheMiddle(rate, spm_rate)
    expected = [
        reference(text, name, rule, seed)
        for text, name in zip(texts, names(len(texts)), strict=True)
    ]
    parts, orders = cut(texts, names(len(texts)), rule, seed)
    assert orders == [order for order, _ in expected]
    assert parts == [part for _, found in expected for part in found]


def test_the_draws_never_change():
    texts = ["def f(x):\n", "naïve 中文", "plain", "e\u0301", "一 two 三", "six"]
    parts, orders = cut(texts, names(6), FillInTheMiddle())
    assert orders == [SPM, PLAIN, PLAIN, SPM, PLAIN, PSM]
    assert parts[:3] == ["", "def f(x", "):\n"]
    assert parts[3:5] == ["naïve 中文", "plain"]
    assert parts[5:] == ["", "e", "\u0301", "一 two 三", "s", "ix", ""]


def test_neither_order_nor_batches_matter():
    texts, ids = [f"text {i} " * i for i in range(50)], names(50)
    rule = FillInTheMiddle()
    column, keys = pa.array(texts, pa.string()), pa.array(ids, pa.large_string())
    whole, orders = split(column, keys, rule, 9)
    sizes = np.where(orders == PLAIN, 1, 3)
    ends = np.cumsum(sizes)
    shuffled = np.random.default_rng(0).permutation(50)
    moved, again = cut([texts[i] for i in shuffled], [ids[i] for i in shuffled], rule, 9)
    assert again == orders[shuffled].tolist()
    expected = [p for i in shuffled for p in whole.to_pylist()[ends[i] - sizes[i] : ends[i]]]
    assert moved == expected
    # A slice does not begin at byte 0 of its buffer.
    tail, last = split(column.slice(20), keys.slice(20), rule, 9)
    assert last.tolist() == orders[20:].tolist()
    assert tail.to_pylist() == whole.to_pylist()[ends[19] :]


def test_both_sides_of_the_rates():
    key = hash_string("document-0", 1 ^ 0x46494D)
    draws = [mix(key), mix((key + 0x9E3779B97F4A7C15) & MASK)]
    chosen, suffix_first = ((draw >> 11) * 2.0**-53 for draw in draws)
    up = lambda value: float(np.nextafter(value, 2.0))  # noqa: E731
    assert cut(["abc"], names(1), FillInTheMiddle(chosen, 0.5))[1] == [PLAIN]
    assert cut(["abc"], names(1), FillInTheMiddle(up(chosen), suffix_first))[1] == [PSM]
    assert cut(["abc"], names(1), FillInTheMiddle(up(chosen), up(suffix_first)))[1] == [SPM]


def test_none_and_all():
    texts, ids = ["some text"] * 200, names(200)
    assert set(cut(texts, ids, FillInTheMiddle(rate=0.0))[1]) == {PLAIN}
    assert set(cut(texts, ids, FillInTheMiddle(rate=1.0, spm_rate=0.0))[1]) == {PSM}
    assert set(cut(texts, ids, FillInTheMiddle(rate=1.0, spm_rate=1.0))[1]) == {SPM}


def test_shares_and_cuts_are_uniform_over_characters():
    # Three characters of one, three and four bytes: four places, so sixteen pairs of cuts.
    count = 32_000
    parts, orders = cut(["a中😀"] * count, names(count), FillInTheMiddle(1.0, 0.25))
    assert Counter(orders)[SPM] == pytest.approx(count / 4, abs=400)  # five standard deviations
    pairs = Counter((len(parts[i]), len(parts[i + 1])) for i in range(0, 3 * count, 3))
    assert len(pairs) == 10
    for (prefix, middle), found in pairs.items():
        ways = 1 if middle == 0 else 2
        assert prefix + middle <= 3
        assert found == pytest.approx(count * ways / 16, abs=320 if ways == 2 else 230)
    half = cut(["a中😀"] * count, names(count), FillInTheMiddle())[1]
    assert half.count(PLAIN) == pytest.approx(count / 2, abs=450)
    # The seed alone decides otherwise.
    assert cut(["a中😀"] * 64, names(64), FillInTheMiddle(), seed=2)[1] != half[:64]


def test_empty_and_short_documents():
    parts, orders = cut(["", "中", "", "a"], names(4), ALWAYS)
    assert [order == PLAIN for order in orders] == [True, False, True, False]
    assert parts[0] == parts[4] == ""
    assert sorted(parts[1:4]) == ["", "", "中"]
    assert sorted(parts[5:]) == ["", "", "a"]
    places = {tuple(cut(["é"], [f"{i}"], ALWAYS)[0]) for i in range(40)}
    assert places == {("é", "", ""), ("", "é", ""), ("", "", "é")}
    assert cut([], [], ALWAYS) == ([], [])
    assert cut(["", ""], names(2), ALWAYS) == (["", ""], [PLAIN, PLAIN])


@pytest.mark.parametrize("length", [255, 256, 257, 511, 512, 513])
def test_cuts_around_the_blocks_in_which_characters_are_counted(length):
    for unit in ("a", "é", "中", "😀"):
        text = unit * length
        parts, orders = cut([text] * 30, names(30), ALWAYS)
        assert parts == [
            part
            for name, order in zip(names(30), orders, strict=True)
            for part in reference(text, name, ALWAYS, 1)[1]
        ]


def test_text_that_is_not_utf8_is_cut_somewhere_and_left_to_the_encoder():
    broken = pa.array([b"\x80\x80\xff", b"a\x80" * 300], pa.large_binary()).view(pa.large_string())
    parts, orders = split(broken, pa.array(names(2)), ALWAYS, 1)
    assert b"".join(parts.view(pa.large_binary()).to_pylist()) == b"\x80\x80\xff" + b"a\x80" * 300
    with pytest.raises(pa.ArrowInvalid, match="Invalid UTF8"):
        parts.validate(full=True)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([PLAIN, PSM, SPM]),
            *[st.lists(st.integers(2, 99), max_size=4) for _ in range(3)],
        )
    ),
    st.sampled_from(["<u2", "<u4"]),
)
def test_join_puts_the_parts_in_their_orders(documents, dtype):
    parts, expected, ends = [], [], []
    for order, first, second, third in documents:
        if order == PLAIN:
            parts.append(first)
            expected += [*first, EOS]
        elif order == PSM:
            parts += [first, second, third]
            expected += [101, *first, 103, *third, 102, *second, EOS]
        else:
            parts += [first, second, third]
            expected += [101, 103, *third, 102, *first, *second, EOS]
        ends.append(len(expected))
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    tokens = np.array([token for part in parts for token in part], dtype)
    orders = np.array([order for order, *_ in documents], np.int8)
    found, where = join(tokens, offsets, orders, IDS, EOS)
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == expected
    assert where.tolist() == ends


def test_parts_of_other_documents_are_an_error():
    with pytest.raises(ValueError, match="2 parts are not those of 1 documents"):
        join(np.zeros(4, "<u2"), np.array([0, 1, 4]), np.array([PSM], np.int8), IDS, EOS)


def test_the_sentinels_by_name():
    assert SENTINELS == ("<fim_prefix>", "<fim_middle>", "<fim_suffix>")


def read(section: str) -> FillInTheMiddle | None:
    text = f"output: o\nsubsets:\n  books: {{input: a}}\n{section}\n"
    return parse(text, "my.yaml").config.fill_in_the_middle


def test_the_section_of_the_config():
    assert read("") is None
    assert read("fill_in_the_middle: {}") == FillInTheMiddle(0.5, 0.5, None)
    chosen = read("fill_in_the_middle: {rate: 0.9, spm_rate: 0, subsets: [books]}")
    assert chosen == FillInTheMiddle(0.9, 0.0, ("books",))
    assert chosen.covers("books")
    assert not chosen.covers("github")
    assert FillInTheMiddle().covers("github")


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{rate: 1.5}", r"my.yaml:4: fill_in_the_middle: rate is 1\.5; it is a fraction"),
        ("{spm_rate: -0.1}", r"spm_rate is -0\.1"),
        ("{subsets: []}", r"subsets is empty; name at least one, or leave it out for all"),
        ("{spmrate: 0.1}", r"unknown key 'spmrate'.*did you mean 'spm_rate'"),
    ],
)
def test_mistakes_in_the_section(section, expected):
    with pytest.raises(ConfigError, match=expected):
        read(f"fill_in_the_middle: {section}")
