"""What a run says of itself: lines, JSON, events that TensorBoard's own schema reads, curves."""

import json
import math
import struct
from xml.etree import ElementTree

import google_crc32c
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from massivetext.errors import StageError
from massivetext.trainer.events import Events
from massivetext.trainer.metrics import Metrics, kept, read_metrics
from massivetext.trainer.plot import run_svg

VALUES = {"loss": 2.0, "learning_rate": 1e-3, "gradient_norm": 0.5}


def events(path):
    """Read an event file by the definition of TFRecord."""
    data, found = path.read_bytes(), []

    def masked(part):
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert data[8:12] == masked(data[:8])
        assert data[12 + length : 16 + length] == masked(body)
        found.append(Event.FromString(body))
        data = data[16 + length :]
    return found


def scalars(found):
    return [(e.step, {v.tag: v.simple_value for v in e.summary.value}) for e in found if e.summary]


def test_tensorboard_reads_the_events(tmp_path):
    with Events(tmp_path, 0) as writer:
        writer.add(1, {"loss": 2.5, "bpb/books": 0.25})
        writer.add(300, {"loss": 1.5})
        writer.restart(99)
    with Events(tmp_path, 1 << 40) as writer:
        writer.add((1 << 40) + 1, {"loss": 0.5})
    first, second = (events(path) for path in sorted(tmp_path.glob("*tfevents*")))
    assert [e.file_version for e in (first[0], second[0])] == ["brain.Event:2"] * 2
    assert scalars(first[2:4]) == [(1, {"loss": 2.5, "bpb/books": 0.25}), (300, {"loss": 1.5})]
    starts = [(e.step, e.session_log.status) for e in (first[1], first[4], second[1])]
    assert starts == [(n, SessionLog.START) for n in (1, 100, (1 << 40) + 1)]
    assert second[2].step == (1 << 40) + 1
    assert 1.7e9 < first[2].wall_time < 1e10


def test_a_step_in_every_form(tmp_path, capsys):
    with Metrics(tmp_path, 3, 300, text_bytes=4.0, mfu=lambda speed: 0.5) as metrics:
        metrics.step(1, 100, 100, VALUES, 0)
        metrics.step(2, 200, 100, {**VALUES, "loss": math.nan}, 1)
        metrics.step(3, 300, 100, {**VALUES, "z_loss": 0.25}, 1)
        metrics.evaluation(3, 300, {"books": 1.5})
    one, two, three, held_out = read_metrics(tmp_path)
    assert one.pop("milliseconds") >= 0
    bits = 2.0 / (math.log(2) * 4)
    assert one == {"step": 1, "tokens": 100, **VALUES, "bits_per_byte_training": bits, "skipped": 0}
    assert (two["loss"], two["bits_per_byte_training"], two["skipped"]) == (None, None, 1)
    assert (three["z_loss"], three["mfu"]) == (0.25, 0.5)
    assert held_out == {"step": 3, "tokens": 300, "bits_per_byte": {"books": 1.5}}
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 1/3      0.00 M tokens  loss  2.0000  bpb 0.7213  lr 1.00e-03")
    assert lines[0].endswith("compiled")
    assert "SKIPPED: not finite" in lines[1]
    assert "MFU 50.0%" in lines[2]
    assert lines[3] == "held out, step 3: bits per byte  books 1.500"
    (path,) = (tmp_path / "train").glob("*tfevents*")
    found = dict(scalars(events(path)[2:5]))
    assert set(found[1]) == {*VALUES, "tokens_per_second"}
    assert "loss" not in found[2]
    assert found[1]["loss"] == 2.0


def test_nothing_is_claimed_that_is_not_known(tmp_path, capsys):
    with Metrics(tmp_path, 1, 100) as metrics:
        metrics.step(1, 100, 100, VALUES, 0)
    line = capsys.readouterr().err
    assert "bpb" not in line
    assert "MFU" not in line


def test_another_process_writes_nothing(tmp_path, capsys):
    with Metrics(tmp_path, 1, 100, writes=False) as metrics:
        metrics.step(1, 100, 100, VALUES, 0)
        metrics.evaluation(1, 100, {"books": 1.0})
        metrics.rewind(1, 9.0, 0, 0, (0, 4))
        metrics.plot("x")
        assert metrics.size() == 0
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_lines_after_the_checkpoint_are_written_again(tmp_path):
    with Metrics(tmp_path, 9, 900, quiet=True) as metrics:
        for step in (1, 2, 3):
            if step == 3:
                size = metrics.size()
            metrics.step(step, step * 100, 100, VALUES, 0)
    with open(tmp_path / "train" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 4, "lo')  # cut short by a kill
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3]
    with Metrics(tmp_path, 9, 900, done=2, size=size, quiet=True):
        pass
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2]
    # A file that was deleted meanwhile is not filled up with zeros.
    (tmp_path / "train" / "metrics.jsonl").unlink()
    with Metrics(tmp_path, 9, 900, done=2, size=size, quiet=True) as metrics:
        metrics.step(3, 300, 100, VALUES, 0)
    assert [r["step"] for r in read_metrics(tmp_path)] == [3]


def test_a_rewind_undoes_steps_and_not_lines(tmp_path, capsys):
    with Metrics(tmp_path, 1000, 1000) as metrics:
        for step in (1, 2, 3, 4):
            metrics.step(step, step, 1, VALUES, 0)
        metrics.rewind(4, 9.5, 2, 2, (8, 24))
        metrics.step(3, 3, 1, {**VALUES, "loss": 7.0}, 0)
        metrics.rewind(3, 9.5, 0, 0, (0, 40))
        metrics.step(1, 1, 1, {**VALUES, "loss": 8.0}, 0)
    records = read_metrics(tmp_path)
    assert [r["step"] for r in records] == [1, 2, 3, 4, 4, 3, 3, 1]
    assert records[4]["rewind"] == {"to": 2, "loss": 9.5, "records": [8, 24]}
    assert [(r["step"], r["loss"]) for r in kept(records)] == [(1, 8.0)]
    assert [(r["step"], r["loss"]) for r in kept(records[:6])] == [(1, 2.0), (2, 2.0), (3, 7.0)]
    said = "step 4: loss 9.5000 is a spike: back to step 2, leaving out records 8 to 23"
    assert said in capsys.readouterr().err


def test_long_runs_print_and_write_less(tmp_path, capsys):
    with Metrics(tmp_path, 40_000, 40_000) as metrics:
        for step in range(1, 401):
            metrics.step(step, step, 1, VALUES, 0)
    assert len(capsys.readouterr().err.splitlines()) == 3  # 1, 200, 400
    assert len(read_metrics(tmp_path)) == 400
    (path,) = (tmp_path / "train").glob("*tfevents*")
    assert len(events(path)) == 2 + 100


def test_a_full_disk_is_said(tmp_path):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def fileno(self):
            return 0

    with Metrics(tmp_path, 1, 1, quiet=True) as metrics:
        metrics._file = Full()
        with pytest.raises(StageError, match=r"metrics.jsonl cannot be written \(No space left"):
            metrics.step(1, 1, 1, VALUES, 0)


SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("losses", [[], [(5, 2.0)], [(1, 3.0), (2, 2.0), (3, 2.5)]])
def test_the_plot_is_svg_whatever_the_losses(losses):
    root = ElementTree.fromstring(run_svg(losses, {"books": [(0, 1.0)]}, "a < b"))
    assert len(root.findall(f"{SVG}polyline")) == 2
    assert root.get("viewBox") == "0 0 720 400"


def test_evaluations_have_a_panel_of_their_own():
    held_out = {"web": [(0, 3.0), (50, 2.0), (100, 1.0)], "a&b": [(0, 3.0), (100, 1.5)]}
    root = ElementTree.fromstring(run_svg([(1, 3.0), (100, 2.0)], held_out, "x"))
    assert root.get("viewBox") == "0 0 720 800"
    lines = [line.get("points") for line in root.findall(f"{SVG}polyline")]
    assert len(lines) == 4
    # x from 60 to 700 for 0 to 100 tokens; y from 436 to 756 for 3.0 to 1.0
    assert lines[2] == "60.0,436.0 700.0,676.0"  # a&b comes first
    assert lines[3] == "60.0,436.0 380.0,596.0 700.0,756.0"
    assert "a&b" in [text.text for text in root.findall(f"{SVG}text")]


def test_the_plot_of_a_run_leaves_out_what_was_undone(tmp_path):
    with Metrics(tmp_path, 10, 10, quiet=True) as metrics:
        for step, loss in ((1, 4.0), (2, 3.0), (3, 99.0)):
            metrics.step(step, step, 1, {**VALUES, "loss": loss}, 0)
        metrics.rewind(3, 99.0, 2, 2, (8, 24))
        metrics.step(3, 3, 1, {**VALUES, "loss": 2.0}, 0)
        metrics.plot("x")
    svg = (tmp_path / "train" / "loss.svg").read_text()
    assert svg == run_svg([(1, 4.0), (2, 3.0), (3, 2.0)], {}, "x")
    assert json.loads((tmp_path / "train" / "metrics.jsonl").read_bytes().splitlines()[3])["rewind"]
