"""Who takes part in dedup.py: massivetext's sketches, and what others use for the same."""

from dataclasses import dataclass

from peers import Contender, Environment

CANDIDATES = "massivetext candidates"

# datatrove's deduplication imports its exact substring search, and that imports tokenizers.
DATATROVE = Environment(
    "datatrove-dedup",
    (
        *("datatrove==0.10.1", "spacy==3.8.18", "nltk==3.10.4", "regex==2026.11.15"),
        *("tokenizers==0.23.3", "xxhash==3.8.2"),
    ),
)
DATASKETCH = Environment("datasketch", ("datasketch==2.0.0",))
RENSA = Environment("rensa", ("rensa==0.5.0",))


@dataclass(frozen=True)
class Contestant:
    """A contender, and the bands x rows of its sketches where their theory is drawn."""

    contender: Contender
    bands: int
    rows: int


def contestants() -> list[Contestant]:
    """Return who takes part: massivetext's sketches, and each peer in two settings."""
    ours = {"bands": 32, "rows": 8, "pairs": True}
    near = {"n_grams": 13, "num_buckets": 32, "hashes_per_bucket": 8}
    trove = "datatrove_minhash.py"
    lsh = "datasketch_lsh.py"
    return [
        Contestant(Contender(CANDIDATES, "massivetext_sketch.py", None, ours), 32, 8),
        Contestant(Contender("datatrove 5-gram", trove, DATATROVE, {"pairs": True}), 14, 8),
        Contestant(
            Contender("datatrove 13-gram", trove, DATATROVE, {"pairs": True, "config": near}), 32, 8
        ),
        Contestant(Contender("datasketch 128", lsh, DATASKETCH, {"num_perm": 128}), 9, 13),
        Contestant(Contender("datasketch 256", lsh, DATASKETCH, {"num_perm": 256}), 0, 0),
        Contestant(
            Contender("rensa 128", "rensa_lsh.py", RENSA, {"num_perm": 128, "num_bands": 8}), 8, 16
        ),
        Contestant(
            Contender("rensa 256", "rensa_lsh.py", RENSA, {"num_perm": 256, "num_bands": 32}), 32, 8
        ),
    ]
