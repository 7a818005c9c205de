"""A small build to look at in the browser: documents of every fate, one hostile, one long."""

import json
import random
from pathlib import Path

from massivetext.config_file import parse
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.plan import check

HOSTILE = (
    "<script>window.hacked = 1</script>\"'&<img src=http://x.example/ onerror='window.hacked=1'>"
    "</pre><svg onload=window.hacked=1>\x00\x1b[31m \u202eright to left\u202c\u2066 \U0001f600 שלום"
)
LONG_WORDS = 60_000
STOP = "the be to of and that have with".split()
SPAM = "buy cheap watches now and save with the best of deals\n"
CONFIG = """
seed: 1
output: {root}/out
subsets:
  web: {{input: "{root}/web.jsonl", rules: [quality, repetition]}}
  books: {{input: "{root}/books.jsonl", rules: []}}
quality: {{min_words: 50}}
repetition: {{}}
overlap: {{test_sets: "{root}/tests.jsonl"}}
heldout: {{fraction: 0.1}}
mixture: {{weights: {{web: 0.5, books: 0.5}}, tokens: 1000}}
"""


def prose(rng: random.Random, words: int) -> str:
    """Return lines of words that Gopher's rules keep."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = [
        rng.choice(STOP) if rng.random() < 0.3 else "".join(rng.choices(letters, k=6))
        for _ in range(words)
    ]
    return "\n".join(" ".join(made[i : i + 12]) + "." for i in range(0, words, 12))


def make(root: Path) -> Path:
    """Write inputs below `root`, build them up to the documents, and return the output folder."""
    rng = random.Random(1)
    web = [prose(rng, 120) for _ in range(60)]
    item = prose(rng, 80)
    edited = web[0].split(" ")
    edited[2] = "changed"
    web += [web[1], " ".join(edited), item, prose(rng, 36), SPAM * 40]
    web += [HOSTILE + " " + prose(rng, 60), prose(rng, LONG_WORDS) + " thevery end"]
    for name, texts in (("web", web), ("books", [prose(rng, 60), HOSTILE]), ("tests", [item])):
        rows = [
            json.dumps({"id": f"{i}", "text": text, "url": f"javascript:alert({i})//<b>"})
            for i, text in enumerate(texts)
        ]
        (root / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    loaded = parse(CONFIG.format(root=root), "test.yaml")
    check(loaded)
    out = Path(loaded.config.output)
    build(Context(out, Engine(workers=1), quiet=True), loaded.config, "documents")
    log(out, 0, 60)
    return out


def log(out: Path, start: int, stop: int) -> None:
    """Append steps, and an evaluation and samples of each tenth, to the trainer's log."""
    path = out / "train/metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        for step in range(start + 1, stop + 1):
            row = {"step": step, "tokens": 1000 * step, "loss": 8 - step / 100}
            row |= {"learning_rate": 1e-4 * step, "gradient_norm": 1.5, "milliseconds": 200.0}
            file.write(json.dumps(row) + "\n")
            if step % 10 == 0:
                bits = {"web": 4 - step / 100, "books": 3 - step / 100}
                texts = {"The": f" text of step {step}", HOSTILE: HOSTILE}
                samples = [{"prompt": prompt, "text": text} for prompt, text in texts.items()]
                for row in ({"samples": samples}, {"bits_per_byte": bits}):
                    file.write(json.dumps({"step": step} | row) + "\n")
