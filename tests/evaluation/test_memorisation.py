"""Memorised spans against generation, counts against slices, intervals against their equation."""

import hashlib
import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.cli import memorisation as command
from massivetext.dataset import write_json
from massivetext.errors import ConfigError, InputError
from massivetext.evaluation import memorisation
from massivetext.evaluation.decoding import Decoding
from massivetext.evaluation.generate import continue_tokens
from massivetext.evaluation.memorisation import (
    SPAN,
    _start,
    draw,
    judged_spans,
    measure,
    trained_ranges,
)
from massivetext.evaluation.memorisation_table import Z, rates, table, wilson
from massivetext.evaluation.occurrences import _count, _hash_runs, count_occurrences
from massivetext.evaluation.trained import Trained
from massivetext.shards import FORMAT, VERSION, Shards
from massivetext.tfrecord import layout
from massivetext.trainer.data import Position

from .trained_model import TEXT, learned, tokenizer

EOS, PAD, LENGTH, RECORDS = 1, 0, 128, 24
SPOKEN = tokenizer().encode(TEXT * 20).astype(np.uint16)


def known(first):
    """Tokens that the model has learned to go on with."""
    return SPOKEN[first : first + LENGTH + 1]


def noise(seed, width=LENGTH + 1):
    return np.random.default_rng(seed).integers(2, 200, width).astype(np.uint16)


def write_shards(root, training, heldout):
    """Write records of subsets: {name: [tokens of a record]} and the same of held-out records."""
    folder = root / "shards"
    (folder / "heldout").mkdir(parents=True)
    record = layout(LENGTH + 1, "uint16")
    names = list(training)

    def write(name, rows):
        tokens = np.stack([row for _, row in rows])
        subset = np.array([names.index(of) for of, _ in rows])
        number = np.zeros(len(rows), np.int64)
        data = record.encode(tokens, subset, number, number).tobytes()
        (folder / name).write_bytes(data)
        return {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    # In turns, as a mixture would have them.
    longest = max(len(rows) for rows in training.values())
    order = [(n, training[n][i]) for i in range(longest) for n in names if i < len(training[n])]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "sequence_length": LENGTH,
        "record_bytes": record.record_bytes,
        "sequences": len(order),
        "tokenizer_sha256": "0" * 64,
        "dtype": "uint16",
        "vocab_size": tokenizer().vocab_size,
        "pad_id": PAD,
        "eos_id": EOS,
        "subsets": [
            {"index": i, "name": name, "available_tokens": LENGTH * 1000}
            for i, name in enumerate(names)
        ],
        "files": [{**write("train.tfrecord", order), "records": len(order)}],
        "heldout": {
            name: {
                **write(f"heldout/{name}.tfrecord", [(name, row) for row in rows]),
                "sequences": len(rows),
                "targets": len(rows) * LENGTH,
                "text_bytes": 1000,
                "documents": len(rows),
            }
            for name, rows in heldout.items()
        },
    }
    write_json(folder / "manifest.json", manifest)
    return Shards.open(folder)


def model_of(shards):
    size, params = learned()
    made = Trained(Path("out"), shards, size, params, 25, "float32", 4)
    made.__dict__["tokenizer"] = tokenizer()
    return made


@pytest.fixture
def mixed(tmp_path):
    """Records that the model knows, in one subset with a held-out set of both, and noise."""
    training = {
        "spoken": [known(i) for i in range(8)],
        "noise": [noise(i) for i in range(RECORDS - 8)],
    }
    heldout = {"spoken": [known(3), noise(100)]}
    return write_shards(tmp_path, training, heldout)


# What is drawn.


def test_trained_records_are_those_that_no_rewind_left_out():
    assert trained_ranges(Position()) == []
    assert trained_ranges(Position(3, 12, 12)) == [(0, 12)]
    position = Position(9, 20, 35, ((8, 12), (12, 15), (20, 28)))
    assert trained_ranges(position) == [(0, 8), (15, 20), (28, 35)]
    assert sum(b - a for a, b in trained_ranges(position)) == position.sequences


def starts_of(tokens):
    last = len(tokens) - SPAN
    return [i for i in range(last + 1) if EOS not in tokens[i : i + SPAN]]


@pytest.mark.parametrize(
    "ends", [[], [0], [28], [29], [128], [0, 101, 128], [99], [100], [50], [3, 4, 5], [110, 10]]
)
def test_a_span_starts_where_no_document_ends_within_it(ends):
    tokens = noise(1)
    tokens[ends] = EOS
    every = starts_of(tokens)
    if not every:
        assert _start(tokens, EOS, 7) is None
    else:
        drawn = [_start(tokens, EOS, number) for number in range(2 * len(every))]
        assert drawn == every * 2


def test_no_span_where_all_is_short():
    assert _start(noise(1, SPAN - 1), EOS, 3) is None
    assert _start(noise(1, SPAN), EOS, 3) == 0


def test_spans_are_different_and_the_same_for_a_seed(mixed):
    ranges = [(2, 5), (9, 20)]
    inside = {*range(2, 5), *range(9, 20)}
    spans = draw(mixed, ranges, 10, 4, "training", mixed.manifest)
    assert [(s.record, s.start) for s in spans] == [
        (s.record, s.start) for s in draw(mixed, ranges, 10, 4, "training", mixed.manifest)
    ]
    assert len({s.record for s in spans}) == 10  # no record twice while there are others
    assert {s.record for s in spans} < inside
    for span in spans:
        assert np.array_equal(span.tokens, mixed[span.record][span.start : span.start + SPAN])
        assert span.subset == ("noise" if span.record > 15 or span.record % 2 else "spoken")
    other = draw(mixed, ranges, 10, 5, "training", mixed.manifest)
    assert [(s.record, s.start) for s in other] != [(s.record, s.start) for s in spans]
    more = draw(mixed, ranges, 40, 4, "training", mixed.manifest)
    assert [s.record for s in more[:10]] == [s.record for s in spans]
    assert {s.record for s in more} == inside
    assert len({(s.record, s.start) for s in more}) == 40


def test_there_may_be_fewer_spans_than_wanted(tmp_path):
    row = noise(0)
    row[102] = EOS  # leaves three places
    shards = write_shards(tmp_path, {"a": [row, np.full(LENGTH + 1, EOS, np.uint16)]}, {})
    spans = draw(shards, [(0, 2)], 10, 0, "training", shards.manifest)
    assert sorted((s.record, s.start) for s in spans) == [(0, 0), (0, 1), (0, 2)]
    assert draw(shards, [(1, 2)], 10, 0, "training", shards.manifest) == []
    assert draw(shards, [], 10, 0, "training", shards.manifest) == []


# How often they were seen.


class Records:
    """Records in memory, of which `sizes` tokens count."""

    def __init__(self, tokens, sizes):
        self.tokens, self.sizes = tokens, sizes
        self.record = SimpleNamespace(width=tokens.shape[1], tokens=tokens.dtype)

    def read(self, start, stop):
        sizes = self.sizes[start:stop]
        return SimpleNamespace(tokens=self.tokens[start:stop], targets=sizes - 1)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_occurrences_are_those_of_every_slice(data):
    rows, width = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 9))
    length = data.draw(st.integers(1, width))
    dtype = data.draw(st.sampled_from([np.uint16, np.uint32]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    tokens = rng.integers(0, data.draw(st.integers(1, 4)), (rows, width)).astype(dtype)
    sizes = rng.integers(2, width + 1, rows)
    runs = rng.integers(0, 3, (data.draw(st.integers(1, 6)), length))
    start = data.draw(st.integers(0, rows))
    ranges = [(0, start // 2), (start, rows)]
    inside = [*range(start // 2), *range(start, rows)]
    expected = [
        sum(
            tokens[row, i : i + length].tolist() == run.tolist()
            for row in inside
            for i in range(sizes[row] - length + 1)
        )
        for run in runs
    ]
    found = count_occurrences(Records(tokens, sizes), ranges, runs, quiet=True)
    assert found.tolist() == expected


def test_blocks_and_threads_do_not_matter(mixed, monkeypatch):
    runs = np.stack([known(5)[:20], noise(3)[9:29], noise(999, 20), known(5)[:20]])
    whole = count_occurrences(mixed, [(0, RECORDS)], runs, threads=1, quiet=True)
    assert whole[1:].tolist() == [1, 0, whole[0]]
    assert whole[0] > 8
    monkeypatch.setattr("massivetext.evaluation.occurrences.BLOCK_BYTES", 600)
    for threads in (1, 3):
        found = count_occurrences(mixed, [(0, RECORDS)], runs, threads=threads, quiet=True)
        assert found.tolist() == whole.tolist()


def test_runs_of_one_hash_are_told_apart():
    run, other = np.array([[5, 6, 7]], np.uint32), np.array([[5, 6, 8]], np.uint32)
    hashes = np.repeat(_hash_runs(run), 3)
    counts = np.zeros(3, np.int64)
    tokens = np.array([[5, 6, 7, 5, 6, 7]], np.uint16)
    both = np.concatenate([other, run, other])
    _count(tokens, np.array([6]), both, hashes, np.ones(64, np.bool_), counts)
    assert counts.tolist() == [0, 2, 0]


# What is memorised.


def test_a_span_is_memorised_when_greedy_generation_gives_its_end(mixed):
    model = model_of(mixed)
    training, heldout = judged_spans(model, Position(6, 24, 24), 24, 0, quiet=True)
    assert len(training) == 24
    assert len(heldout) == 8
    greedy = Decoding(temperature=0)
    for span in training + heldout:
        prompt = span.tokens[:50].tolist()
        text = continue_tokens(
            model.params, model.size, prompt, 50, greedy, window=LENGTH, seed=0, eos_id=EOS,
            banned=model.banned,
        )  # fmt: skip
        assert span.memorised == (list(text) == span.tokens[50:].tolist())
    rate = {
        name: [s.memorised for s in training if s.subset == name] for name in ("spoken", "noise")
    }
    assert len(rate["spoken"]) == 8
    assert any(rate["spoken"])
    assert not any(rate["noise"])


def test_seen_is_counted_in_what_was_trained_on(mixed):
    # All of the first records; the spoken ones overlap, so a span of one is in others.
    position = Position(2, 8, 12, ((4, 8),))
    training, heldout = judged_spans(model_of(mixed), position, 8, 0, quiet=True)
    records = [mixed[k].tolist() for k in (0, 1, 2, 3, 8, 9, 10, 11)]
    assert {span.record for span in training} == {0, 1, 2, 3, 8, 9, 10, 11}
    for span in training + heldout:
        run = span.tokens.tolist()
        places = [row[i : i + SPAN] == run for row in records for i in range(LENGTH - SPAN + 2)]
        assert span.times_seen == sum(places)
    assert all(span.times_seen >= 1 for span in training)
    assert {span.times_seen for span in training if span.subset == "noise"} == {1}
    assert {span.times_seen for span in heldout if span.record == 1} == {0}
    assert {span.subset for span in heldout} == {"spoken"}


def test_sequences_shorter_than_a_span_are_refused():
    shards = SimpleNamespace(sequence_length=SPAN - 2, manifest={}, folder=Path("x"))
    with pytest.raises(ConfigError, match="a sequence of 98 tokens holds no span of 100"):
        judged_spans(model_of(shards), Position(1, 1, 1), 1, 0)


def test_documents_without_a_span_are_an_error(tmp_path):
    shards = write_shards(tmp_path, {"a": [np.full(LENGTH + 1, EOS, np.uint16)]}, {})
    with pytest.raises(InputError, match="no document in the records that were trained on"):
        judged_spans(model_of(shards), Position(1, 1, 1), 1, 0, quiet=True)


# What is told.


@given(st.integers(1, 3000), st.data())
def test_the_bounds_of_a_rate_solve_wilsons_equation(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    rate = successes / trials
    assert 0 <= low <= rate <= high <= 1
    for bound in (low, high):
        error = (rate - bound) ** 2 - Z**2 * bound * (1 - bound) / trials
        assert error == pytest.approx(0, abs=1e-12)


def test_intervals_of_the_textbook():
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)


def test_times_are_put_together_in_powers_of_two():
    found = rates([("a", times, times > 3) for times in (0, 1, 2, 3, 4, 5, 8, 9, 500, 512, 513)])
    assert [(e["from"], e["to"], e["spans"], e["memorised"]) for e in found["by_times_seen"]] == [
        (0, 0, 1, 0), (1, 1, 1, 0), (2, 2, 1, 0), (3, 4, 2, 1), (5, 8, 2, 2), (9, 16, 1, 1),
        (257, 512, 2, 2), (513, 1024, 1, 1),
    ]  # fmt: skip
    assert found["all"]["rate"] == 7 / 11
    assert rates([]) == {"all": None, "by_times_seen": [], "by_subset": {}}


@pytest.fixture
def run(tmp_path, mixed, monkeypatch):
    """`measure` of a run that is in memory, but for its shards."""
    model = model_of(mixed)
    monkeypatch.setattr(memorisation, "load", lambda root, config: model)

    class Checkpoints:
        def __init__(self, root, identity, *, read_only):
            assert read_only

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def about(self, step):
            assert step == 25
            return Position(6, 24, 24).to_json()

    monkeypatch.setattr(memorisation, "Checkpoints", Checkpoints)
    return tmp_path


def test_the_report(run):
    report = measure(run, None, 24, quiet=True)
    assert json.loads((run / "memorisation.json").read_text()) == report
    first = (run / "memorisation.json").read_bytes()
    training = report["training"]
    assert training["all"]["spans"] == 24
    assert {name: each["spans"] for name, each in training["by_subset"].items()} == {
        "noise": 16, "spoken": 8,
    }  # fmt: skip
    memorised = training["by_subset"]["spoken"]["memorised"]
    assert training["all"]["memorised"] == memorised > 0
    assert report["heldout"]["all"]["spans"] == 8
    assert (report["step"], report["prompt_tokens"], report["continuation_tokens"]) == (25, 50, 50)
    assert len(report["examples"]) == min(memorised, 20)
    example = report["examples"][0]
    assert example["prompt"] + example["continuation"] in " " + TEXT * 20
    measure(run, None, 24, quiet=True)
    assert (run / "memorisation.json").read_bytes() == first
    assert measure(run, None, 24, 1, quiet=True)["examples"] != report["examples"]
    lines = table(report).splitlines()
    assert lines[0].split() == ["spans", "of", "spans", "memorised", "rate", "95", "%", "interval"]
    assert lines[1].startswith("training documents ")
    assert "seen once" in lines[2]
    with pytest.raises(ConfigError, match="spans is 0"):
        measure(run, None, 0)


def test_without_held_out_documents_the_table_says_so():
    rate = rates([("a", 1, True)])
    report = {"training": rate, "heldout": rates([]), "prompt_tokens": 50}
    text = table({**report, "continuation_tokens": 50, "step": 3})
    assert "no held-out documents to compare with" in text
    assert "100.00%  20.65% to 100.00%" in text


def test_the_command(run, monkeypatch, capsys):
    config = run / "my.yaml"
    config.write_text(f"output: {run}\nsubsets: {{a: {{input: x}}}}\n")
    options = {"config": str(config), "overrides": [], "seed": 0}
    assert command.run(Namespace(**options, spans=4)) == 0
    out = capsys.readouterr().out
    assert "training documents" in out
    assert str(run / "memorisation.json") in out
    with pytest.raises(ConfigError, match="--spans is 0"):
        command.run(Namespace(**options, spans=0))
    (run / "shards" / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="no shards in"):
        command.run(Namespace(**options, spans=4))
