"""What a person reads while waiting."""

import pytest

from massivetext.progress import Progress, human_bytes, human_seconds


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB")]
)
def test_human_bytes(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (60, "1 min 00 s"), (3725, "1 h 02 min")]
)
def test_human_seconds(seconds, text):
    assert human_seconds(seconds) == text


def test_line_has_share_rate_and_time_left():
    done = [0]
    with Progress("clean", 1000, lambda: done[0], quiet=True) as progress:
        progress._started -= 10
        done[0] = 250
        text = progress.text()
    assert "25.0%" in text
    assert "250 B of 1.0 kB" in text
    assert "25 B/s" in text
    assert "30 s left" in text


def test_a_note_stands_behind_what_is_done_and_is_asked_after_it():
    asked = []
    done = lambda: asked.append("done") or 500  # noqa: E731
    note = lambda: f"  {asked.count('done'):,} documents"  # noqa: E731
    with Progress("clean", 1000, done, note=note, quiet=True) as progress:
        assert "500 B of 1.0 kB  2 documents  " in progress.text()
