"""The scale model: what a build needs at a size, from what smaller builds have used.

Each stage grows with one quantity: CPU seconds = fixed + rate x quantity, and so do the bytes that
it shuffles and the CPU seconds of the driver, which no number of workers shortens. Fixed parts and
rates are those of the real builds. Memory is not fitted: buffers are bounded and spill, so it is
the highest peak of a real build, and what the driver keeps of every further document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Gopher (arXiv 2112.11446), Table 2: MassiveText is 10.5 TB and 2.35 billion documents.
DOCUMENTS_PER_BYTE = 2.35e9 / 10.5e12
# What the work of a stage grows with; a stage that is not named here grows with the text.
GROWS_WITH = {"clean": "documents", "deduplicate": "documents", "shards": "tokens"}
CONSTANT = ("tokenizer", "card")
# Errors of what is measured: a share, and seconds of CPU that the sampling of processes gives to
# the stage before or after.
RELATIVE = 0.05
SAMPLING = 1.0
# Of the driver: a node of the union-find, and the bit that says whether it has a candidate pair.
DOCUMENT_MEMORY = 4 + 1 / 8


@dataclass(frozen=True)
class Quantities:
    """How large a build is: bytes of text read, documents, tokens in the shards."""

    text_bytes: float
    documents: float
    tokens: float

    def of(self, stage: str) -> float:
        """Return the quantity that a stage grows with; 0 for a stage that does not grow."""
        if stage in CONSTANT:
            return 0.0
        return float(getattr(self, GROWS_WITH.get(stage, "text_bytes")))


@dataclass(frozen=True)
class StageUse:
    """What a stage of a real build used: CPU seconds of all processes and of the driver alone, and
    bytes shuffled."""

    cpu_seconds: float
    driver_seconds: float
    shuffled: float


@dataclass(frozen=True)
class Measured:
    """A real build: its size, wall seconds, peak bytes in memory, and what each stage used."""

    quantities: Quantities
    seconds: float
    peak: float
    stages: Mapping[str, StageUse]


@dataclass(frozen=True)
class Line:
    """fixed + rate x quantity, both at least 0."""

    fixed: float
    rate: float

    def at(self, quantity: float) -> float:
        return self.fixed + self.rate * quantity


def fit(points: Sequence[tuple[float, float]], noise: float = 0.0) -> Line:
    """Fit a line through (quantity, value) whose errors are least, neither part negative.

    A value is taken to be wrong by `RELATIVE` of itself and by `noise`: a small build counts as
    much as a large one, but not one whose value is all noise. One point gives a rate and no fixed
    part; points of one quantity give their mean.

    Raises:
      ValueError: there is no point.
    """
    if not points:
        raise ValueError("nothing was measured")
    if len({x for x, _ in points}) == 1:
        mean = sum(y for _, y in points) / len(points)
        x = points[0][0]
        return Line(0.0, mean / x) if x else Line(mean, 0.0)
    weights = [1 / max(RELATIVE * y + noise, 1e-9) ** 2 for _, y in points]
    total = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    y_mean = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    top = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, points, strict=True))
    bottom = sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    rate = top / bottom
    fixed = y_mean - rate * x_mean
    if rate < 0:
        return Line(y_mean, 0.0)
    if fixed < 0:
        # Small builds need less than their share, so the larger ones say what larger ones need.
        return Line(0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points))
    return Line(fixed, rate)


@dataclass(frozen=True)
class Prices:
    """List prices in US dollars, by default Dataflow's batch workers and shuffle in us-central1.

    Attributes:
      core_hour, gigabyte_hour, shuffled_gigabyte: of a vCPU, of its memory, of shuffled data.
      gigabytes_a_core: memory that a worker has for each vCPU.
      as_of: when they were the list prices.
    """

    core_hour: float = 0.056
    gigabyte_hour: float = 0.003557
    shuffled_gigabyte: float = 0.011
    gigabytes_a_core: float = 4.0
    as_of: str = "2025-01"


@dataclass(frozen=True)
class Forecast:
    """What a build of a size needs.

    Attributes:
      core_hours: CPU of all processes; `by_stage` has each stage's.
      driver_hours: the part of it that runs in the driver alone, whatever the number of workers.
      shuffled, peak: bytes brought together by key; in memory on one machine with two workers.
      seconds: wall time on the machine of the measurements.
      dollars: at list prices, on workers that compute all the time.
    """

    core_hours: float
    driver_hours: float
    shuffled: float
    peak: float
    seconds: float
    dollars: float
    by_stage: dict[str, float]

    def hours_on(self, cores: int) -> float:
        """Return the wall time on so many cores: what the driver does alone, and the rest."""
        return self.driver_hours + (self.core_hours - self.driver_hours) / cores


class Model:
    """Fitted on real builds; `predict` says what others need.

    Raises:
      ValueError: there is no build.
    """

    def __init__(self, builds: Sequence[Measured]):
        if not builds:
            raise ValueError("there is no build to fit the model on")
        names = [name for name in builds[0].stages if all(name in b.stages for b in builds)]
        self.cpu = {name: _stage_line(builds, name, "cpu_seconds", SAMPLING) for name in names}
        self.driver = {
            name: _stage_line(builds, name, "driver_seconds", SAMPLING) for name in names
        }
        self.shuffled = {name: _stage_line(builds, name, "shuffled") for name in names}
        # What it was beside that memory.
        peak = max(b.peak - DOCUMENT_MEMORY * b.quantities.documents for b in builds)
        self.peak = Line(max(0.0, peak), DOCUMENT_MEMORY)
        self.wall = fit([(b.quantities.text_bytes, b.seconds) for b in builds])

    def predict(self, size: Quantities, prices: Prices) -> Forecast:
        """Return what a build of `size` needs."""
        by_stage = {name: line.at(size.of(name)) / 3600 for name, line in self.cpu.items()}
        hours = sum(by_stage.values())
        shuffled = sum(line.at(size.of(name)) for name, line in self.shuffled.items())
        worker = prices.core_hour + prices.gigabytes_a_core * prices.gigabyte_hour
        return Forecast(
            hours,
            sum(line.at(size.of(name)) for name, line in self.driver.items()) / 3600,
            shuffled,
            self.peak.at(size.documents),
            self.wall.at(size.text_bytes),
            hours * worker + shuffled / 1e9 * prices.shuffled_gigabyte,
            by_stage,
        )


def _stage_line(builds: Sequence[Measured], stage: str, what: str, noise: float = 0.0) -> Line:
    points = [(b.quantities.of(stage), getattr(b.stages[stage], what)) for b in builds]
    return fit(points, noise)


def massivetext_like(text_bytes: float, tokens_per_byte: float) -> Quantities:
    """Return the quantities of a corpus with documents as long as MassiveText's."""
    return Quantities(text_bytes, text_bytes * DOCUMENTS_PER_BYTE, text_bytes * tokens_per_byte)
