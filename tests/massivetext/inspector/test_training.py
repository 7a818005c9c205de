"""Points of the training curves."""

import json
from itertools import pairwise

from massivetext.inspector.training import POINTS, SAMPLED, run, runs


def line(step: int, **more) -> str:
    return json.dumps({"step": step, "loss": 8 - step / 1e5, "tokens": step} | more) + "\n"


def test_no_log_is_no_run(tmp_path):
    nothing = {"steps": [], "evaluations": [], "samples": [], "rewinds": [], "size": 0}
    assert run(tmp_path / "m") == {"present": False, **nothing}


def test_what_is_new_follows_the_size(tmp_path):
    path = tmp_path / "metrics.jsonl"
    bits = json.dumps({"step": 1, "bits_per_byte": {"web": 2.0}}) + "\n"
    path.write_text(line(1) + bits + '{"step": 2, "lo')
    first = run(path)
    assert [row["step"] for row in first["steps"]] == [1]
    assert first["evaluations"] == [{"step": 1, "bits_per_byte": {"web": 2.0}}]
    assert first["size"] == len(line(1) + bits)
    path.write_text(line(1) + bits + line(2))
    second = run(path, first["size"])
    assert [row["step"] for row in second["steps"]] == [2]
    assert second["evaluations"] == []
    assert run(path, second["size"])["steps"] == []


def test_a_log_that_was_cut_back_says_its_size(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1))
    assert run(path, 10_000) == {
        "present": True, "steps": [], "evaluations": [], "samples": [], "rewinds": [],
        "size": len(line(1)),
    }  # fmt: skip


def rewind(step: int, to: int) -> str:
    said = {"to": to, "loss": 9.5, "records": [100, 132]}
    return json.dumps({"step": step, "rewind": said}) + "\n"


def bits(step: int) -> str:
    return json.dumps({"step": step, "bits_per_byte": {"web": 2.0}}) + "\n"


def test_what_a_spike_undid_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    text = "".join(line(step) for step in range(1, 6)) + bits(2) + bits(5) + rewind(5, 3)
    path.write_text(text)
    first = run(path)
    assert [row["step"] for row in first["steps"]] == [1, 2, 3]
    assert [row["step"] for row in first["evaluations"]] == [2]
    assert first["rewinds"] == [{"step": 5, "loss": 9.5, "to": 3, "records": [100, 132]}]
    assert first["size"] == len(text)
    path.write_text(text + line(4) + rewind(4, 2) + line(3, again=True))
    second = run(path, first["size"])
    assert [(row["step"], row["to"]) for row in second["rewinds"]] == [(4, 2)]
    assert [row["step"] for row in second["steps"]] == [3]
    whole = run(path)
    assert [row["step"] for row in whole["steps"]] == [1, 2, 3]
    assert whole["steps"][-1]["again"]


def test_a_rewind_that_is_none_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + '{"step": 1, "rewind": 7}\n{"rewind": {"to": "x"}}\n["rewind"]\n')
    found = run(path)
    assert found["rewinds"] == []
    assert [row["step"] for row in found["steps"]] == [1]


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    folders = [tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "y", tmp_path / "x"]
    found = runs(folders)
    assert list(found) == ["x", "x (2)", "y", "x (3)"]
    assert found["y"] == tmp_path / "y" / "train" / "metrics.jsonl"


def test_lines_that_are_no_steps_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'[1]\n\xff\xfe\n{"step": 1}\n\n' + line(3).encode())
    assert [row["step"] for row in run(path)["steps"]] == [3]


def test_many_steps_are_thinned_and_the_last_stays(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for count, more in ((30_000, {}), (9_000, {"long": "x" * 300})):
        path.write_text("".join(line(step, **more) for step in range(1, count + 1)))
        steps = [row["step"] for row in run(path)["steps"]]
        assert POINTS / 8 < len(steps) <= POINTS
        assert (steps[0], steps[-1]) == (1, count)
        assert steps == sorted(set(steps))


def sampled(step: int, *pairs: tuple[str, str]) -> str:
    """The trainer's line of samples."""
    rows = [{"prompt": prompt, "text": text} for prompt, text in pairs]
    return json.dumps({"step": step, "tokens": 10 * step, "samples": rows}) + "\n"


def test_samples_come_with_their_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    # Texts that are keys of other lines make no other line of these.
    odd = [("rewind", '"bits_per_byte": {'), ("", "\ufffd\x00")]
    first, second = sampled(0, *odd), sampled(2, ("a", "b"))
    subset = json.dumps({"step": 2, "bits_per_byte": {"samples": 2.0, "rewind": 1.0}}) + "\n"
    path.write_text(first + line(1) + line(2) + second + subset)
    found = run(path)
    assert found["samples"] == [
        {"step": 0, "samples": [{"prompt": prompt, "text": text} for prompt, text in odd]},
        {"step": 2, "samples": [{"prompt": "a", "text": "b"}]},
    ]
    assert [row["step"] for row in found["steps"]] == [1, 2]
    assert [row["bits_per_byte"]["samples"] for row in found["evaluations"]] == [2.0]
    with open(path, "a") as file:
        file.write(sampled(3, ("a", "c")) + rewind(4, 2) + sampled(3, ("a", "d")))
    later = run(path, found["size"])["samples"]
    assert later == [{"step": 3, "samples": [{"prompt": "a", "text": "d"}]}]
    assert run(path)["samples"] == found["samples"] + later


def test_samples_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"prompt": "a"}, 7, {"prompt": 1, "text": "b"}, {"prompt": "a", "text": "b", "more": 1}]
    lines = [{"step": "x", "samples": rows}, {"samples": 3}, {"step": 5, "samples": rows}]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert run(path)["samples"] == [{"step": 5, "samples": [{"prompt": "a", "text": "b"}]}]


def test_many_samples_are_thinned_evenly_and_the_last_stays(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for count in (SAMPLED - 1, SAMPLED, SAMPLED + 1, 1_000, 3_333):
        path.write_text("".join(line(n) + sampled(n, ("a", "x" * 2_000)) for n in range(count)))
        found = run(path)
        steps = [row["step"] for row in found["samples"]]
        assert SAMPLED / 2 <= len(steps) <= SAMPLED
        assert (steps[0], steps[-1]) == (0, count - 1)
        gaps = {after - before for before, after in pairwise(steps[:-1])}
        assert len(gaps) == 1
        # Long lines of samples do not thin the curves.
        assert len(found["steps"]) >= min(count, POINTS / 2)
    assert steps[1] == 64
