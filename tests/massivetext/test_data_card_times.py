"""The card's times of stages, from the dates of files, and the scores of classifiers."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext.data_card.gather import gather
from massivetext.data_card.page import page
from massivetext.data_card.times import seconds

from .data_card_build import build, manifest, write


def dated(root: Path, dates: dict[str, float], **files: list[str]) -> dict[str, Any]:
    """Write a folder whose files have these dates; return manifests that list `files` by stage."""
    manifests = {
        stage: manifest(root, stage, {}, files=[{"path": path} for path in paths])
        for stage, paths in files.items()
    }
    for name, date in dates.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text("")
        os.utime(path, (date, date))
    return manifests


ONE_RUN = {
    "config.yaml": 1000.0,
    "measured/a": 1010.0,
    "measured/b": 1040.5,
    "manifests/measure.json": 1041.5,
    "dropped/a": 1042.0,
    "manifests/clean.json": 1051.5,
    "manifests/tokenizer.json": 1060.0,
}
FILES = {"measure": ["measured/a", "measured/b"], "clean": ["dropped/a"], "tokenizer": []}


def test_a_stage_lasts_from_the_end_of_another_to_its_manifest(tmp_path: Path) -> None:
    manifests = dated(tmp_path, ONE_RUN, **FILES)
    assert seconds(tmp_path, manifests) == {"measure": 41.5, "clean": 10.0, "tokenizer": 8.5}


def test_a_later_run_begins_with_its_config(tmp_path: Path) -> None:
    dates = ONE_RUN | {"config.yaml": 1041.75}
    # Nothing says when the run began that measured.
    found = seconds(tmp_path, dated(tmp_path, dates, **FILES))
    assert found == {"clean": 9.8, "tokenizer": 8.5}


def test_a_stage_that_was_continued_has_no_time(tmp_path: Path) -> None:
    dates = ONE_RUN | {"config.yaml": 1020.0}
    found = seconds(tmp_path, dated(tmp_path, dates, **FILES))
    assert found == {"clean": 10.0, "tokenizer": 8.5}


def test_files_with_other_dates_have_no_time(tmp_path: Path) -> None:
    dates = ONE_RUN | {"dropped/a": 1054.0}
    found = seconds(tmp_path, dated(tmp_path, dates, **FILES))
    assert found == {"measure": 41.5, "tokenizer": 8.5}
    (tmp_path / "measured/a").unlink()
    assert "measure" not in seconds(tmp_path, dated(tmp_path, {}, **FILES))


def test_the_page_says_what_a_terabyte_takes(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    card = gather(root)
    card["seconds"] = {"measure": 7.0, "clean": 0.0}
    text = page(card, "out")
    # 3,400 bytes in 7 seconds.
    assert '<th scope="row">measure</th><td class="number">7 s</td>' in text
    assert '<td class="number">486 B</td><td class="number">571,895.4</td>' in text
    assert "Not known: sketch, deduplicate" in text
    assert "Time and throughput" not in page(card | {"seconds": {}}, "out")


def test_scores_by_subset(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    path = root / "measured/massiveweb/part-00000.parquet"
    rows = pq.read_table(path)
    scores = pa.array([0.9, 0.1, 0.5, 0.25, 0.0, 0.0, 1.0], pa.float32())
    column = rows.column_names.index("safety_probability")
    field = rows.schema.field(column)
    write(path, rows.set_column(column, field, scores))
    card = gather(root)
    found = card["measured"]["massiveweb"]["signals"]["safety_probability"]
    # The rules keep the first, the second and the fourth.
    assert found["sums"]["kept"] == pytest.approx(1.25)
    assert found["sums"]["dropped"] == pytest.approx(1.5)
    text = page(card, "out")
    cells = [
        ["read", "7", "0.393", "0.24", "1.00", "42.9%"],
        ["kept by the rules", "3", "0.417", "0.24", "0.90", "33.3%"],
    ]
    at = text.index("how unsafe the model takes documents to be")
    table = text[at : text.index("</table>", at)]
    for row in cells:
        joined = '</td><td class="number">'.join(row[1:])
        assert f'{row[0]}</td><td class="number">{joined}</td>' in table
    assert "Scores of classifiers" not in page(gather(build(tmp_path / "b")), "b")
