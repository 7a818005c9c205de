"""A small corpus with known duplicates, test-set copies and bad records, for whole builds."""

import gzip
import json
import random
from pathlib import Path

STOP = "the be to of and that have with".split()
COMMON = "in it for not on he as you do at this but his by from they we say her she or an".split()


def vocabulary(rng: random.Random, size: int = 800) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(size)]


def prose(rng: random.Random, words: list[str], count: int) -> str:
    """Return sentences in lines and paragraphs that pass Gopher's rules."""
    lines, line = [], []
    for _ in range(count):
        pool = STOP + COMMON if rng.random() < 0.35 else words
        line.append(rng.choice(pool))
        if len(line) > 9 and rng.random() < 0.2:
            lines.append(" ".join(line).capitalize() + ".")
            line = []
            if rng.random() < 0.3:
                lines.append("")
    lines.append(" ".join([*line, "end"]) + ".")
    return "\n".join(lines)


def edit(rng: random.Random, text: str) -> str:
    """Change one word of a text: its 13-gram Jaccard with the original stays above 0.8."""
    words = text.split(" ")
    words[len(words) // 2] = "changed" + str(rng.randint(0, 9))
    return " ".join(words)


def write_jsonl(path: Path, records: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    path.write_bytes(gzip.compress(lines, mtime=0) if path.suffix == ".gz" else lines)


def write_warc(path: Path, pages: list[tuple[str, bytes]]) -> None:
    """Write HTTP responses as a WARC, one gzip member a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = b""
    for number, (url, html) in enumerate(pages):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
        head = (
            "WARC/1.0\r\nWARC-Type: response\r\n"
            f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\n"
            f"WARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
            "Content-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(http)}\r\n\r\n"
        ).encode()
        out += gzip.compress(head + http + b"\r\n\r\n", mtime=0)
    path.write_bytes(out)


def make(root: Path, seed: int = 1) -> str:
    """Write the corpus below `root`; return a config whose output is `root/out`."""
    rng = random.Random(seed)
    words = vocabulary(rng)
    books = [prose(rng, words, rng.randint(150, 400)) for _ in range(40)]
    books += [books[0], books[1], edit(rng, books[2]), edit(rng, books[3])]
    tests = [prose(rng, words, 60) for _ in range(5)]
    books.append(tests[0])
    for part in range(3):
        records = [{"id": str(i), "text": t} for i, t in enumerate(books[part::3])]
        write_jsonl(root / f"data/books/b{part}.jsonl.gz", records)
    pages = []
    for i in range(30):
        text = prose(rng, words, 120) if i % 5 else "spam " * 80
        html = "<html><body><div>" + "".join(f"<p>{p}</p>" for p in text.split("\n\n"))
        pages.append((f"http://example.org/{i}", (html + "</div></body></html>").encode()))
    write_warc(root / "data/web/w.warc.gz", pages)
    code = [f"def f{i}(x):\n    return x + {i}  # {prose(rng, words, 30)!r}\n" for i in range(20)]
    for i, text in enumerate(code):
        (root / "data/code").mkdir(parents=True, exist_ok=True)
        (root / f"data/code/m{i}.py").write_text(text)
    write_jsonl(
        root / "data/tests.jsonl.gz", [{"id": f"t{i}", "text": t} for i, t in enumerate(tests)]
    )
    return f"""
seed: 1
output: {root}/out
subsets:
  massiveweb: {{input: "{root}/data/web/*.warc.gz", format: warc}}
  books:      {{input: ["{root}/data/books/b*.jsonl.gz"]}}
  github:     {{input: "{root}/data/code", format: files, include: ["*.py"]}}
overlap:   {{test_sets: "{root}/data/tests.jsonl.gz"}}
heldout:   {{fraction: 0.1}}
tokenizer: {{vocab_size: 600, sample_bytes: 200_000}}
mixture:
  weights: {{massiveweb: 0.3, books: 0.6, github: 0.1}}
  tokens: 12_800
  sequence_length: 64
  max_epochs: 8
  shard_sequences: 64
train:
  override: {{layers: 2, d_model: 32, heads: 2, kv_size: 16}}
  steps: 6
  batch_size: 4
  checkpoint_every: 3
"""
