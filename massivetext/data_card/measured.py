"""What the stored signals of a subset say: decisions, histograms, languages, lengths, hosts.

Reads the columns of signals by batches of rows, never the text.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import Config
from ..rules import RULES, SIGNALS, Decision, decide, signal_columns
from . import bins, files
from .tops import Tops

COLUMNS = ("url", "text_bytes", *SIGNALS.names)
LANGUAGES = 200
HOSTS = 100
# No name of a host is longer (RFC 1035); what claims to be one is cut.
HOST_CHARACTERS = 253
_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#]*@)?(?P<host>\[[^\]/?#]*\]|[^/?#:]+)"
NUMERIC = tuple(f.name for f in SIGNALS if not pa.types.is_string(f.type))


def hosts(urls: pa.Array) -> pa.Array:
    """Return the host of each address in lower case, string [n]; null where there is none."""
    found = pc.struct_field(pc.extract_regex(urls.cast(pa.string()), _HOST), "host")
    return pc.utf8_lower(pc.utf8_slice_codeunits(found, 0, HOST_CHARACTERS))


class Scan:
    """Adds up the measured documents of one subset.

    Attributes:
      problem: why the rules could not be applied to the signals, or empty.
    """

    def __init__(self, name: str, config: Config | None):
        self.config = config
        self.groups = config.rules(name) if config and name in config.subsets else None
        self.problem = ""
        self.documents = self.left = 0
        self.text_bytes = 0
        self.first = np.zeros(len(RULES), np.int64)
        self.alone = np.zeros(len(RULES), np.int64)
        self.together = np.zeros((len(RULES), len(RULES)), np.int64)
        self.signals: dict[str, dict[str, np.ndarray]] = {}
        self.sums: dict[str, dict[str, float]] = {}
        self.lengths = {key: np.zeros(len(bins.LENGTHS), np.int64) for key in ("read", "left")}
        self.languages = Tops(("documents", "bytes", "left", "probability"))
        self.hosts = Tops(("documents", "bytes", "left"))

    def read(self, path: Path, dropped: Iterable[Path]) -> None:
        """Add the documents of one measured file, of which the rows in `dropped` did not stay."""
        left = np.ones(files.rows(path), bool)
        for drop in dropped:
            if drop.exists():
                left[files.row_numbers(drop)] = False
        start = 0
        for batch in files.batches(path, COLUMNS):
            self._add(batch, left[start : start + batch.num_rows])
            start += batch.num_rows

    def _add(self, batch: pa.RecordBatch, left: np.ndarray) -> None:
        sizes = batch.column("text_bytes").to_numpy()
        self.documents += batch.num_rows
        self.left += int(left.sum())
        self.text_bytes += int(sizes.sum())
        self.lengths["read"] += bins.count(sizes, bins.LENGTHS)
        self.lengths["left"] += bins.count(sizes[left], bins.LENGTHS)
        ones = np.ones(batch.num_rows, np.int64)
        sums = {"documents": ones, "bytes": sizes, "left": left.astype(np.int64)}
        if "language" in batch.schema.names:
            probability = batch.column("language_probability").to_numpy(zero_copy_only=False)
            probability = np.nan_to_num(probability.astype(np.float64))
            self.languages.add(batch.column("language"), **sums, probability=probability)
        urls = batch.column("url")
        if urls.null_count < len(urls):
            self.hosts.add(hosts(urls), **sums)
        self._add_signals(batch, self._decide(batch))

    def _decide(self, batch: pa.RecordBatch) -> np.ndarray:
        """Count what the rules do to a batch; return which documents they keep, bool [n]."""
        everything = np.ones(batch.num_rows, bool)
        if self.config is None or self.groups is None or self.problem:
            return everything
        try:
            decision = decide(signal_columns(batch), self.groups, self.config)
        except ValueError as error:
            # Half the rules' counts would be taken for all of them.
            self.problem = str(error)
            for counts in (self.first, self.alone, self.together):
                counts.fill(0)
            return everything
        self._count(decision)
        return decision.keep

    def _count(self, decision: Decision) -> None:
        # Documents fail few different sets of rules: each set is counted once.
        sets, counts = np.unique(decision.failed[~decision.keep], return_counts=True)
        bits = (sets[:, None] >> np.arange(len(RULES), dtype=np.uint64)) & np.uint64(1)
        # Exact: a batch has fewer rows than a float64 has whole numbers.
        table = bits.astype(np.float64)
        self.together += (table.T @ (table * counts[:, None])).astype(np.int64)
        single = np.bitwise_count(sets) == 1
        self.alone += counts[single] @ bits[single].astype(np.int64)
        self.first += np.bincount(decision.first[~decision.keep], minlength=len(RULES))

    def _add_signals(self, batch: pa.RecordBatch, keep: np.ndarray) -> None:
        for name in NUMERIC:
            if name not in batch.schema.names:
                continue
            column = batch.column(name)
            if column.null_count == len(column):
                continue
            valid = np.asarray(pc.is_valid(column))
            values, stays = column.drop_null().to_numpy(), keep[valid]
            edges = bins.edges_of(name)
            entry = self.signals.setdefault(
                name, {key: np.zeros(len(edges), np.int64) for key in ("kept", "dropped")}
            )
            entry["kept"] += bins.count(values[stays], edges)
            entry["dropped"] += bins.count(values[~stays], edges)
            sums = self.sums.setdefault(name, {"kept": 0.0, "dropped": 0.0})
            sums["kept"] += float(values[stays].sum(dtype=np.float64))
            sums["dropped"] += float(values[~stays].sum(dtype=np.float64))

    def result(self) -> dict[str, Any]:
        """Return what was added up, as JSON."""
        failing = np.flatnonzero(self.together.diagonal())
        fails = {
            str(RULES[i]): {
                "fail": int(self.together[i, i]),
                "alone": int(self.alone[i]),
                "first": int(self.first[i]),
            }
            for i in failing
        }
        together = {
            str(RULES[i]): {str(RULES[j]): int(self.together[i, j]) for j in failing if j != i}
            for i in failing
        }
        languages = self.languages.top(LANGUAGES)
        for row in languages:
            row["probability"] = row["probability"] / row["documents"]
        return {
            "documents": self.documents,
            "left": self.left,
            "bytes": self.text_bytes,
            "rules": fails,
            "together": together,
            "signals": {
                k: bins.trim(v, bins.edges_of(k)) | {"sums": self.sums[k]}
                for k, v in self.signals.items()
            },
            "lengths": bins.trim(self.lengths, bins.LENGTHS)
            | {
                key: {
                    f"p{percent}": bins.quantile(counts, bins.LENGTHS, percent / 100)
                    for percent in (5, 50, 95)
                }
                for key, counts in (
                    ("read_bytes", self.lengths["read"]),
                    ("left_bytes", self.lengths["left"]),
                )
            },
            "languages": languages,
            "hosts": {
                "names": len(self.hosts),
                "uncertain": int(self.hosts.uncertain),
                "top": self.hosts.top(HOSTS),
            },
        }
