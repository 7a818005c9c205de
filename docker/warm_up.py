"""Build a small corpus into FOLDER, so that every kernel is compiled and cached in the image.

Workers that compile their kernels themselves lose about a minute each. Usage: warm_up.py FOLDER
"""

import json
import sys
from pathlib import Path

from massivetext.config_file import parse
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine

CONFIG = """
output: "{folder}/out"
subsets:
  web: {{input: "{folder}/*.html", format: html, rules: [gopher, c4, fineweb], mask: [email, ip]}}
  books: {{input: "{folder}/books.jsonl", rules: [gopher], mask: [email, ip]}}
deduplicate: {{spans: paragraphs}}
overlap: {{test_sets: "{folder}/tests.jsonl", containment: 0.8}}
heldout: {{fraction: 0.1}}
tokenizer: {{vocab_size: 400, sample_bytes: 100_000}}
mixture: {{weights: {{web: 0.1, books: 0.9}}, tokens: 5000, sequence_length: 64, max_epochs: 50}}
"""
WORDS = "the be to of and that have with text clean word test deep page line book".split()


def document(number: int) -> str:
    """Return sixteen lines of words, different for each number."""
    state, lines = number + 1, []
    for _ in range(16):
        words = []
        for _ in range(12):
            state = state * 48_271 % 2_147_483_647
            words.append(WORDS[state % len(WORDS)] + ("" if state & 16 else chr(97 + state % 26)))
        lines.append(" ".join(words).capitalize() + ".")
    return "\n\n".join(lines)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [document(number) for number in range(60)]
    # Copies, exact and near, so that what deals with them runs as well.
    texts += [texts[0], texts[1] + " More.", texts[2].replace("word", "work", 1)]
    for name, own in (("books", texts), ("tests", texts[5:8])):
        rows = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(own)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    for number in range(4):
        body = "".join(f"<p>{line}</p>" for line in document(100 + number).split("\n\n"))
        page = f"<html><body><div>{body}</div></body></html>"
        (folder / f"{number}.html").write_text(page)
    config = parse(CONFIG.format(folder=folder), "warm_up.yaml").config
    build(Context(Path(config.output), Engine()), config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
