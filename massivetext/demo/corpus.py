"""Gathers the demo's raw text: real text that nobody made up for us.

github      source of the standard library
massiveweb  pydoc's HTML pages of the standard library, and a page per module of our
            dependencies with its docstrings
c4          descriptions and licences of the installed packages (licences are near-duplicates)
wikipedia   the language reference, a topic an article
test set    every tenth topic, so that overlap removal has something to find
"""

import ast
import gzip
import html
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from ..errors import StageError

SOURCE_BYTES = 12_000_000
FILE_BYTES = 200_000
PAGES_SECONDS = 120
DOCSTRING_BYTES = 8_000_000
PAGE_BYTES = 1_000
DOCUMENTED = ("apache_beam", "jax", "numba", "numpy", "optax", "pyarrow")
TEST_EVERY = 10
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|copyright)", re.IGNORECASE)

Record = dict[str, str]


def gather(folder: Path) -> dict[str, int]:
    """Write the raw files below `folder`; return the number of documents by subset."""
    folder.mkdir(parents=True, exist_ok=True)
    articles = list(topics())
    tests = articles[::TEST_EVERY]
    counts = {
        "github": _write(folder / "github.jsonl.gz", sources()),
        "c4": _write(folder / "c4.jsonl.gz", [*descriptions(), *licences()]),
        "wikipedia": _write(folder / "wikipedia.jsonl.gz", articles),
        "massiveweb": pages(folder / "massiveweb")
        + _write(folder / "massiveweb" / "docstrings.jsonl.gz", docstrings()),
    }
    _write(folder / "test_set.jsonl.gz", tests)
    return counts


def _write(path: Path, records: Iterator[Record] | list[Record]) -> int:
    count = 0
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
        for record in records:
            # Text comes from files of other people; Arrow takes valid Unicode only.
            clean = {k: v.encode("utf-8", "replace").decode() for k, v in record.items()}
            out.write((json.dumps(clean, ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def _read(path: Path) -> str | None:
    try:
        if path.stat().st_size > FILE_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def sources() -> Iterator[Record]:
    """Yield the modules of the standard library, sorted, up to `SOURCE_BYTES`."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
    total = 0
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if skipped & set(relative.parts):
            continue
        text = _read(path)
        if text:
            total += len(text)
            if total > SOURCE_BYTES:
                return
            yield {"id": relative.as_posix(), "text": text}


def docstrings() -> Iterator[Record]:
    """Yield an HTML page per module of some dependencies: its docstrings, with headings.

    The sources are parsed, not imported. Up to `DOCSTRING_BYTES` in all.
    """
    total = 0
    for package in DOCUMENTED:
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            root = Path(location)
            for path in sorted(root.rglob("*.py")):
                relative = path.relative_to(root.parent)
                if {"tests", "testing", "_pyinstaller"} & set(relative.parts):
                    continue
                body = _page(_read(path) or "")
                total += len(body)
                if total > DOCSTRING_BYTES:
                    return
                if len(body) > PAGE_BYTES:
                    yield {"id": relative.as_posix(), "html": f"<html><body>{body}</body></html>"}


def _page(source: str) -> str:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ""
    parts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                if not isinstance(node, ast.Module):
                    parts.append(f"<h2>{node.name}</h2>")
                parts += [f"<p>{html.escape(p)}</p>" for p in text.split("\n\n")]
    return "\n".join(parts)


def descriptions() -> Iterator[Record]:
    """Yield the long description of every installed package."""
    for dist in _distributions():
        # PackageMetadata.get_payload is the description of metadata 2.1 and later.
        payload = dist.metadata.get_payload()  # type: ignore[attr-defined]
        text = payload if isinstance(payload, str) and payload else dist.metadata["Description"]
        if text:
            yield {"id": f"{dist.name} {dist.version}", "text": text}


def licences() -> Iterator[Record]:
    """Yield the licence files of every installed package."""
    for dist in _distributions():
        for file in sorted(dist.files or [], key=str):
            if _LICENCE.search(file.name) and file.suffix.lower() in ("", ".txt", ".md", ".rst"):
                text = _read(Path(str(file.locate())))
                if text:
                    yield {"id": f"{dist.name}/{file.name}", "text": text}


def _distributions() -> list[importlib.metadata.Distribution]:
    found = {d.name: d for d in importlib.metadata.distributions() if d.name}
    return [found[name] for name in sorted(found)]


def topics() -> Iterator[Record]:
    """Yield the articles of the language reference that ships with Python."""
    from pydoc_data.topics import topics as articles

    for name in sorted(articles):
        yield {"title": name, "text": articles[name]}


def pages(folder: Path) -> int:
    """Write the HTML pages in a child process; return how many."""
    command = [sys.executable, "-m", "massivetext.demo.pages", str(folder)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=PAGES_SECONDS,
            env=environment,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise StageError(f"the demo could not write pydoc's pages: {error}") from error
    return int(done.stdout.split()[-1])
