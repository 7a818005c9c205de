"""Points of the training curves."""

import json

from massivetext.inspector.training import POINTS, run


def line(step: int, **more) -> str:
    return json.dumps({"step": step, "loss": 8 - step / 1e5, "tokens": step} | more) + "\n"


def test_no_log_is_no_run(tmp_path):
    assert run(tmp_path / "m") == {"present": False, "steps": [], "evaluations": [], "size": 0}


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
        "present": True, "steps": [], "evaluations": [], "size": len(line(1)),
    }  # fmt: skip


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
