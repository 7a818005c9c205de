"""Writes the card: the page, and its data as JSON beside it."""

from pathlib import Path
from typing import Any

from ..dataset import atomic_file, write_json
from ..errors import ConfigError
from .compare import compare
from .gather import gather
from .page import page


def write(root: Path, path: Path, against: Path | None = None) -> dict[str, Any]:
    """Write the page of the dataset at `root` to `path` and its data beside it; return the data.

    In the output folder itself the data replaces the build's `card.json`, all of which it holds.

    Args:
      path: the page, `*.html`; the data is `*.json`.
      against: the output folder of another build, to compare with.

    Raises:
      ConfigError: a folder is not the output of a build, its `card.yaml` is wrong, or `path`
        cannot be written.
    """
    card = gather(root)
    if against is not None:
        card["differences"] = compare(card, gather(against))
    text = page(card, root.absolute().name, "" if against is None else str(against))
    try:
        with atomic_file(path) as out:
            out.write(text.encode())
        write_json(path.with_suffix(".json"), card)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return card
