"""The sample: by weight, by seed, and by nothing else."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import InputError
from massivetext.hashing import hash_string
from massivetext.tokenizer.sample import (
    LARGEST_HASH,
    SAMPLE,
    SAMPLE_SALT,
    budgets,
    candidates,
    cutoff,
    fill,
    truncate,
)

DOCUMENTS = {f"doc-{i}": f"text of {i} " + "é" * (i % 40) for i in range(3000)}
SIZE = sum(len(text.encode()) for text in DOCUMENTS.values())


def write(path, rows, row_group_size):
    table = pa.table(
        {
            "id": pa.array(rows, pa.string()),
            "text": pa.array([DOCUMENTS[name] for name in rows], pa.large_string()),
        }
    )
    pq.write_table(table, path, row_group_size=row_group_size)


def draw(folder, files, budget, seed, largest=None):
    folder.mkdir()
    largest = cutoff(len(DOCUMENTS), SIZE, budget) if largest is None else largest
    samples = []
    for i, (rows, groups) in enumerate(files):
        write(folder / f"{i}.parquet", rows, groups)
        sample = folder / f"{i}.sample"
        batches = list(candidates(folder / f"{i}.parquet", largest, budget, seed))
        pq.write_table(pa.Table.from_batches(batches, SAMPLE), sample)
        samples.append(sample)
    return list(fill(samples, budget))


def reference(budget, seed):
    """Sort every document by its hash and take bytes until they are enough."""
    order = sorted(DOCUMENTS, key=lambda name: hash_string(name, seed ^ SAMPLE_SALT))
    taken, left = [], budget
    for name in order:
        if left <= 0:
            break
        text = truncate(DOCUMENTS[name], left)
        left -= len(text.encode())
        taken.append(text)
    return taken


@pytest.mark.parametrize("budget", [10, 500, 20_000, SIZE - 1, SIZE, SIZE + 10])
def test_files_and_their_order_do_not_matter(tmp_path, budget):
    names = list(DOCUMENTS)
    one = draw(tmp_path / "one", [(names, 3000)], budget, 5)
    many = draw(tmp_path / "many", [(names[2000::-1], 100), (names[2001:], 77)], budget, 5)
    assert one == many == reference(budget, 5)
    size = sum(len(text.encode()) for text in one)
    # The last text may lose a character that does not fit.
    assert min(budget, SIZE) - 1 <= size <= min(budget, SIZE)


def test_the_seed_decides(tmp_path):
    names = list(DOCUMENTS)
    one = draw(tmp_path / "one", [(names, 500)], 5000, 5)
    assert one != draw(tmp_path / "two", [(names, 500)], 5000, 6)


def test_the_cutoff_draws_little_more_than_needed(tmp_path):
    write(tmp_path / "a.parquet", list(DOCUMENTS), 100)
    largest = cutoff(len(DOCUMENTS), SIZE, SIZE // 10)
    drawn = sum(b.num_rows for b in candidates(tmp_path / "a.parquet", largest, 10**6, 1))
    assert 300 < drawn < 3000 * 0.12 + 6 * 300**0.5 + 20 + 60
    assert cutoff(100, 1000, 1000) == LARGEST_HASH
    assert cutoff(100, 1000, 999) == LARGEST_HASH
    assert cutoff(0, 0, 0) == LARGEST_HASH
    assert cutoff(10**6, 10**9, 10**6) == int((1200 + 6 * 1000**0.5 + 20) / 10**6 * 2**64)


def test_budgets_follow_weights_and_redistribute():
    sizes = {"web": 1000, "books": 1000, "wiki": 10}
    weights = {"web": 0.5, "books": 0.25, "wiki": 0.25}
    assert budgets(sizes, weights, 100) == {"books": 30, "web": 60, "wiki": 10}
    assert budgets(sizes, weights, 40) == {"books": 10, "web": 20, "wiki": 10}
    assert budgets(sizes, weights, 36) == {"books": 9, "web": 18, "wiki": 9}
    assert budgets(sizes, weights, 10**6) == sizes
    assert budgets(sizes, {"web": 1.0, "books": 0.0}, 100) == {"books": 0, "web": 100, "wiki": 0}
    assert budgets({"web": 0}, {"web": 1.0}, 100) == {"web": 0}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**7), min_size=1),
    st.lists(st.floats(0.001, 1), min_size=6, max_size=6),
    st.integers(1, 10**7),
)
def test_budgets_are_within_what_there_is(sizes, values, total):
    weights = dict(zip("abcdef", values, strict=True))
    result = budgets(sizes, weights, total)
    assert all(0 <= result[name] <= sizes[name] for name in sizes)
    filled = min(total, sum(sizes.values()))
    assert filled - len(sizes) <= sum(result.values()) <= filled


def test_a_text_longer_than_the_budget_is_cut_at_a_character(tmp_path):
    assert truncate("aéé", 4) == "aé"
    assert truncate("aéé", 5) == "aéé"
    one = draw(tmp_path / "one", [(["doc-39"], 1)], 12, 1, LARGEST_HASH)
    assert one == ["text of 39 "]


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"part-00000\.parquet is not a documents file"):
        list(candidates(path, LARGEST_HASH, 1, 1))
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(InputError, match=r"part-00000\.parquet is not a documents file"):
        list(candidates(path, LARGEST_HASH, 1, 1))
    assert list(fill([], 10)) == []
