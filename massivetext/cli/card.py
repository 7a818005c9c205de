"""`massivetext card OUT`: the data card, as a page and as JSON."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from ..storage import local_folder


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    folders = [root] if options.against is None else [root, Path(options.against)]
    for folder in folders:
        if not (folder / "manifests").is_dir():
            raise ConfigError(f"{folder} is not the output of a build (it has no manifests)")
    path = root / "card.html" if options.output is None else Path(options.output)
    if path.suffix != ".html":
        raise ConfigError(f"--output {path}: the card is a page, so its name must end in .html")
    # Arrow takes a moment to import: after the arguments are known to be right.
    from ..data_card.write import write

    card = write(root, path, None if options.against is None else Path(options.against))
    for line in card["missing"]:
        print(f"incomplete: {line}")
    blank = [key for key, e in card["datasheet"].items() if not e["known"] and not e["written"]]
    if blank:
        print(f"to be written in {root / 'card.yaml'}: {', '.join(blank)}")
    print(f"card in {path}, its data in {path.with_suffix('.json')}")
    return 0
