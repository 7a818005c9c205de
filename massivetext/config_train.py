"""Training's part of the config: the model, the optimisation, the devices, what is kept and said.

Each class checks its own values, as in `config`.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from .config_rules import known, positive
from .presets import MODELS, POSITIONS

OPTIMIZERS = ("adam", "adamw", "adafactor")
SCHEDULES = ("cosine", "inverse_square_root")
DECAYS = ("coupled", "independent", "squared_rate")
PRECISIONS = ("float32", "mixed", "bfloat16")
REMATS = ("none", "matrices", "full")
RAMPS = ("steps", "linear")

SIZES = ("layers", "d_model", "heads", "kv_heads", "kv_size", "ffw")

# Samples are to be read by a person; they cost a forward pass a token.
MOST_PROMPTS = 16
MOST_CHARACTERS = 1000  # of a prompt
MOST_TOKENS = 256  # of a sample


@dataclass(frozen=True)
class Override:
    """Dimensions of the preset to change; `ffw` follows `d_model` unless given."""

    layers: int | None = None
    d_model: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    kv_size: int | None = None
    ffw: int | None = None
    positions: str | None = None
    qk_norm: bool | None = None

    def __post_init__(self) -> None:
        positive(self, *(name for name in SIZES if getattr(self, name) is not None))
        if self.positions is not None:
            known("positions", self.positions, POSITIONS)

    def given(self) -> dict[str, int | str | bool]:
        """Return what is changed, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class RampPoint:
    """The size of a batch once `sequences` have been trained."""

    sequences: int
    batch_size: int

    def __post_init__(self) -> None:
        positive(self, "batch_size")


@dataclass(frozen=True)
class BatchRamp:
    """How the batch grows with the sequences trained so far, from the first point, which is at 0.

    `steps` keeps each size up to the next point (Gopher, PaLM); `linear` grows evenly from point to
    point (GPT-3). The last point's size must be `batch_size`.
    """

    points: tuple[RampPoint, ...]
    form: str = "steps"

    def __post_init__(self) -> None:
        known("form", self.form, RAMPS)
        if not self.points or self.points[0].sequences != 0:
            raise ValueError("points must begin with sequences: 0")
        for before, after in pairwise(self.points):
            if after.sequences <= before.sequences or after.batch_size <= before.batch_size:
                raise ValueError(
                    f"the point at {after.sequences:,} sequences must lie after the one at "
                    f"{before.sequences:,}, and its batch of {after.batch_size:,} be larger than "
                    f"{before.batch_size:,}"
                )


@dataclass(frozen=True)
class Mesh:
    """How many devices each axis takes; `data` takes all that are left when it is not given.

    `data` splits the batch, `fsdp` the batch and the parameters (ZeRO-3), `tensor` the heads, the
    feed-forward width and the vocabulary (Megatron). With `partition_optimizer` the optimiser's
    state is split over `data` as well (ZeRO-1; Gopher, section 3.2).
    """

    data: int | None = None
    fsdp: int = 1
    tensor: int = 1
    partition_optimizer: bool = False

    def __post_init__(self) -> None:
        positive(self, "fsdp", "tensor")
        if self.data is not None:
            positive(self, "data")


@dataclass(frozen=True)
class Spikes:
    """When a loss is a spike, and how far to go back (PaLM, section 5.1).

    A loss more than `deviations` standard deviations above the mean of the last `window` is a
    spike: the run goes back to a checkpoint at least `rewind` steps old and leaves out the `skip`
    batches after the spike, and all between.
    """

    deviations: float = 6.0
    window: int = 128
    rewind: int = 100
    skip: int = 200
    max_rewinds: int = 20

    def __post_init__(self) -> None:
        positive(self, "deviations", "window", "max_rewinds")
        if self.rewind < 0 or self.skip < 0:
            raise ValueError("rewind and skip must be at least 0")
        if self.window < 8:
            raise ValueError(f"window is {self.window}; a deviation needs at least 8 losses")


@dataclass(frozen=True)
class Samples:
    """Texts that the model continues, by `tokens` each, whenever it is evaluated."""

    prompts: tuple[str, ...]
    tokens: int = 48

    def __post_init__(self) -> None:
        if not 1 <= len(self.prompts) <= MOST_PROMPTS:
            raise ValueError(f"prompts are {len(self.prompts)}; give 1 to {MOST_PROMPTS}")
        for prompt in self.prompts:
            if len(prompt) > MOST_CHARACTERS:
                raise ValueError(
                    f"the prompt {prompt[:20]!r}... has {len(prompt):,} characters; at most "
                    f"{MOST_CHARACTERS:,} are allowed"
                )
            if self.prompts.count(prompt) > 1:
                raise ValueError(f"the prompt {prompt[:20]!r} is given twice")
        if not 1 <= self.tokens <= MOST_TOKENS:
            raise ValueError(f"tokens is {self.tokens}; it must be from 1 to {MOST_TOKENS}")


@dataclass(frozen=True)
class Train:
    """Training of one decoder on the shards. `override` changes dimensions of the preset.

    `batch_size` is in sequences; a batch is computed `micro_batch_size` sequences at a time, their
    gradients added up. `learning_rate` is the preset's own unless given.
    """

    model: str = "gopher-44m"
    override: Override = field(default_factory=Override)
    steps: int = 200
    batch_size: int = 8
    micro_batch_size: int | None = None
    batch_ramp: BatchRamp | None = None
    learning_rate: float | None = None
    warmup_steps: int = 1500
    schedule: str = "cosine"
    optimizer: str = "adamw"
    weight_decay: float = 0.1
    decay: str = "coupled"
    clip_norm: float = 1.0
    z_loss: float = 0.0
    precision: str = "float32"
    stochastic_rounding: bool = False
    mesh: Mesh = field(default_factory=Mesh)
    remat: str = "matrices"
    spikes: Spikes | None = None
    checkpoint_every: int = 100
    evaluate_every: int = 0
    evaluate_sequences: int = 64
    samples: Samples | None = None

    def __post_init__(self) -> None:
        known("model", self.model, MODELS)
        known("optimizer", self.optimizer, OPTIMIZERS)
        known("schedule", self.schedule, SCHEDULES)
        known("decay", self.decay, DECAYS)
        known("precision", self.precision, PRECISIONS)
        known("remat", self.remat, REMATS)
        positive(self, "steps", "batch_size", "clip_norm", "checkpoint_every", "evaluate_sequences")
        for name in ("warmup_steps", "evaluate_every", "weight_decay", "z_loss"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if self.learning_rate is not None:
            positive(self, "learning_rate")
        if self.optimizer == "adafactor" and self.decay == "independent":
            raise ValueError("adafactor decays by the squared rate (PaLM); leave decay out")
        if self.stochastic_rounding and self.precision != "bfloat16":
            raise ValueError("stochastic_rounding rounds bfloat16 parameters: set precision")
        self._check_batches()

    def _check_batches(self) -> None:
        micro = self.micro_batch_size
        if micro is not None:
            positive(self, "micro_batch_size")
        sizes = [self.batch_size]
        if self.batch_ramp is not None:
            sizes += [point.batch_size for point in self.batch_ramp.points]
            if sizes[-1] != self.batch_size:
                raise ValueError(
                    f"batch_ramp ends at {sizes[-1]}; batch_size is {self.batch_size}: make them "
                    "equal"
                )
            if micro is None:
                raise ValueError("batch_ramp needs micro_batch_size, which every batch is made of")
        for size in sizes:
            if micro is not None and size % micro:
                raise ValueError(f"micro_batch_size {micro} does not divide the batch of {size}")
