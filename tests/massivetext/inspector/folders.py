"""Output folders written by hand, with many small row groups, and requests to a server."""

import http.client
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from massivetext.dataset import sha256_json
from massivetext.dropped import DROPPED

from ..data_card_build import CONFIG, GOOD, MEASURED, manifest

GROUP = 5
ROWS = 23
# Rows of every part: which stage dropped them, by which rule, with which value.
DROPS = {
    "clean": {3: ("min_words", 7.0), 11: ("language", None), 12: ("min_words", 9.0)},
    "near": {4: ("near_duplicate", 0.9), 22: ("near_duplicate", 0.85)},
}
HELDOUT = (0, 19)


def rows(subset: str, part: int) -> list[dict[str, Any]]:
    """Return the documents of a part: `quality_words` is 10 times the row, in books absent."""
    return [
        {
            "id": f"{subset}/f{part}#{row}",
            "text": f"Text {row} of PART{part}, groß\n" + "x " * row,
            "source": f"f{part}",
            "url": f"https://example.org/{part}/{row}" if row % 2 else None,
            "text_bytes": 100 + row,
            **({**GOOD, "quality_words": 10 * row} if subset == "massiveweb" else {}),
        }
        for row in range(ROWS)
    ]


def write(path: Path, values: list[dict[str, Any]], schema: pa.Schema, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(values, schema), path, GROUP, **options)


def make(root: Path, statistics: bool = False) -> Path:
    """Write two subsets of two parts, up to the stage `documents`, and return the folder."""
    (root / "manifests").mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    entries: dict[str, Any] = {}
    files: dict[str, list[dict[str, Any]]] = {"clean": [], "near": []}
    for subset in ("massiveweb", "books"):
        parts = []
        for part in range(2):
            name = f"{subset}/part-{part:05d}"
            path = f"measured/{name}.parquet"
            found = rows(subset, part)
            write(root / path, found, MEASURED, write_statistics=statistics)
            size = sum(row["text_bytes"] for row in found)
            parts.append({"name": name, "path": path, "rows": ROWS, "bytes": size})
            for stage, dropped in DROPS.items():
                lost = [
                    {"id": found[row]["id"], "subset": subset, "stage": stage, "rule": rule,
                     "row": row, "value": value, "threshold": 50.0}
                    for row, (rule, value) in dropped.items()
                ]  # fmt: skip
                path = f"dropped/{stage}/{name}.parquet"
                write(root / path, lost, DROPPED)
                files[stage].append({"path": path, "rows": len(lost)})
            aside = [found[row] for row in HELDOUT]
            write(root / f"heldout/{name}.parquet", aside, MEASURED)
        entries[subset] = {"counts": {}, "parts": parts}
    upstream = [sha256_json(manifest(root, "measure", {}, subsets=entries))]
    clean = manifest(root, "clean", {"measured": upstream[0]}, subsets={}, files=files["clean"])
    upstream.append(sha256_json(clean))
    sketch = sha256_json(manifest(root, "sketch", {"upstream": upstream}))
    near = manifest(root, "deduplicate", {"sketch": sketch}, files=files["near"])
    upstream.append(sha256_json(near))
    upstream.append(sha256_json(manifest(root, "overlap", {"upstream": upstream})))
    aside = {subset: {"documents": 2 * len(HELDOUT)} for subset in entries}
    manifest(root, "documents", {"upstream": upstream}, subsets={}, heldout=aside)
    return root


def request(
    port: int, target: str | bytes, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send a request as it is, and return status, headers by lower-case name, and body."""
    if isinstance(target, bytes):
        target = target.decode("latin-1")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=200)
    try:
        # http.client refuses to send some of what a hostile client sends.
        connection._validate_path = connection._validate_method = lambda _: None
        connection._encode_request = lambda text: text.encode("latin-1")
        connection.putrequest(method, target, skip_host=True)
        for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items():
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        connection.close()


def ask(port: int, target: str) -> Any:
    """Return the JSON of an answer that is 200."""
    status, _, body = request(port, target)
    assert status == 200, body
    return json.loads(body)
