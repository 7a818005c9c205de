"""Writes pydoc's HTML page of every standard module: `python -m massivetext.demo.pages FOLDER`.

A process of its own, because pydoc imports what it documents and an import may do anything.
"""

import contextlib
import importlib
import io
import os
import pydoc
import sys
import warnings
from pathlib import Path

# Opens a browser, prints a poem, draws windows, or is a test suite.
SKIPPED = {"antigravity", "this", "idlelib", "turtledemo", "test", "lib2to3", "__main__"}
# numpy is always there (it is a dependency) and writes the longest docstrings of all.
EXTRA = ("numpy", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random")


def modules() -> list[str]:
    """Return the names of the modules whose pages are written, sorted."""
    names = {n for n in sys.stdlib_module_names if not n.startswith("_")} - SKIPPED
    return sorted(names | set(EXTRA))


def write(folder: Path) -> int:
    """Write `<module>.html` for every module that can be imported; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for name in modules():
        silence = io.StringIO()
        try:
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                module = importlib.import_module(name)
                page = pydoc.html.page(name, pydoc.html.document(module, name))
        except (Exception, SystemExit):  # noqa: S112 - whatever a foreign module raises on import
            continue
        (folder / f"{name}.html").write_text(page, encoding="utf-8", errors="replace")
        written += 1
    return written


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ["PYTHONHASHSEED"] = "0"
    print(write(Path(sys.argv[1])))
