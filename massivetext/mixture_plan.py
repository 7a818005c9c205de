"""What a mixture plans: sequences of each subset, over the whole budget and in each stage."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from .card import align
from .config_mixture import Construction


class Stock(NamedTuple):
    """What a subset holds: `tokens` stored, of which an epoch makes targets of sequences.

    Packed end to end every token is a target once an epoch. `Construction.GOPHER` takes one full
    sequence of each of `crops` documents, and packs the `packed` tokens of the others.
    """

    tokens: int
    crops: int
    packed: int

    def targets(self, length: int) -> int:
        """Return the targets of an epoch in sequences of `length`."""
        return self.crops * length + self.packed

    def sequences(self, length: int) -> int:
        """Return the sequences of an epoch; the last one may be short of `length` targets."""
        return -(-self.targets(length) // length)


@dataclass(frozen=True)
class SubsetPlan:
    """What one subset gives: its stock, the `sequences` of an epoch, `used` sequences drawn."""

    name: str
    weight: float
    stock: Stock
    sequences: int
    used: int

    @property
    def tokens(self) -> int:
        """Tokens stored, end-of-document tokens included."""
        return self.stock.tokens

    @property
    def epochs(self) -> float:
        """Sequences used / sequences of an epoch: how often each document is drawn."""
        return self.used / self.sequences if self.used else 0.0


@dataclass(frozen=True)
class StagePlan:
    """A stretch of training: its weights, and the sequences of each subset used in it."""

    weights: dict[str, float]
    used: dict[str, int]


@dataclass(frozen=True)
class MixturePlan:
    """Sequences per subset for a budget; `subsets` are in order of name, excluded ones included.

    `stages` follow one another; a mixture without stages has one.
    """

    sequence_length: int
    subsets: tuple[SubsetPlan, ...]
    stages: tuple[StagePlan, ...]
    construction: Construction = Construction.PACK

    @property
    def sequences(self) -> int:
        return sum(subset.used for subset in self.subsets)

    @property
    def tokens(self) -> int:
        """Training targets in the plan: sequences * sequence_length."""
        return self.sequences * self.sequence_length

    def token_epochs(self, subset: SubsetPlan) -> float:
        """Return targets trained on / tokens stored: how often a token is used, in the mean."""
        return subset.used * self.sequence_length / subset.tokens if subset.used else 0.0

    def entry(self, index: int) -> dict[str, Any]:
        """Return one subset as the manifest of the shards states it (docs/shards.md)."""
        subset = self.subsets[index]
        entry: dict[str, Any] = {
            "index": index,
            "name": subset.name,
            "weight": subset.weight,
            "available_tokens": subset.stock.targets(self.sequence_length),
            "available_sequences": subset.sequences,
            "sequences": subset.used,
            "tokens": subset.used * self.sequence_length,
            "epochs": subset.epochs,
        }
        if self.construction is Construction.GOPHER:
            entry |= {
                "stored_tokens": subset.tokens,
                "crops": subset.stock.crops,
                "token_epochs": self.token_epochs(subset),
            }
        return entry

    def stage_entries(self) -> list[dict[str, Any]]:
        """Return the stages as the manifest states them: where each ends, weights, sequences."""
        entries: list[dict[str, Any]] = []
        stop = 0
        for stage in self.stages:
            stop += sum(stage.used.values())
            entries.append({"stop": stop, "weights": stage.weights, "sequences": stage.used})
        return entries

    def table(self) -> str:
        """Return the plan as a table for people: a line per subset, a total, then the stages."""
        cropped = self.construction is Construction.GOPHER
        titles = ["subset", "weight", "tokens", "sequences", "used", "trained on", "epochs"]
        rows = [[*titles, "of tokens"] if cropped else titles]
        for subset in self.subsets:
            row = [
                subset.name,
                f"{subset.weight:.4f}",
                f"{subset.tokens:,}",
                f"{subset.sequences:,}",
                f"{subset.used:,}",
                f"{subset.used * self.sequence_length:,}",
                f"{subset.epochs:.2f}",
            ]
            rows.append([*row, f"{self.token_epochs(subset):.2f}"] if cropped else row)
        sequences = sum(subset.sequences for subset in self.subsets)
        tokens = sum(subset.tokens for subset in self.subsets)
        row = [
            "total",
            f"{sum(subset.weight for subset in self.subsets):.4f}",
            f"{tokens:,}",
            f"{sequences:,}",
            f"{self.sequences:,}",
            f"{self.tokens:,}",
            f"{self.sequences / sequences:.2f}",
        ]
        rows.append([*row, f"{self.tokens / tokens:.2f}"] if cropped else row)
        text = align(rows)
        if len(self.stages) > 1:
            text += "\n\n" + align(self._stage_rows())
        return text

    def _stage_rows(self) -> list[list[str]]:
        rows = [["stage", "to sequence", *(subset.name for subset in self.subsets)]]
        for number, entry in enumerate(self.stage_entries(), 1):
            cells = (
                f"{entry['weights'][subset.name]:.4f} ({entry['sequences'][subset.name]:,})"
                for subset in self.subsets
            )
            rows.append([str(number), f"{entry['stop']:,}", *cells])
        return rows
