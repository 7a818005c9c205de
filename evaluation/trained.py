"""A trained model with all that is needed to use it: parameters, tokenizer, precision, context."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from massivetext.config import Config
from massivetext.errors import ConfigError
from massivetext.shards import Shards
from massivetext.storage import Location
from massivetext.trainer.checkpoint import Checkpoints, load_params
from massivetext.trainer.data import fingerprint
from massivetext.trainer.parameters import Dimensions, Params, dimensions

if TYPE_CHECKING:
    from massivetext.tokenizer.encode import Tokenizer


@dataclass(frozen=True)
class Trained:
    """The last checkpoint of the run in `root`. Make one with `load`.

    Attributes:
      step: steps that it was trained for.
      batch_size: sequences that training computed at a time, so as many as fit.
    """

    root: Location
    shards: Shards
    size: Dimensions
    params: Params
    step: int
    precision: str
    batch_size: int

    @property
    def context(self) -> int:
        """Tokens of a training sequence: what the model has learned to read at once."""
        return self.shards.sequence_length

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the shards.

        Raises:
          ConfigError: it is missing, or another than that of the shards.
        """
        return tokenizer_of(self.root, self.shards)

    @property
    def banned(self) -> tuple[int, ...]:
        return unused(self.tokenizer)


def tokenizer_of(root: Location, shards: Shards) -> "Tokenizer":
    """Return the tokenizer of `root`, which made `shards`.

    Raises:
      ConfigError: it is missing, or another than that of the shards.
    """
    from massivetext.tokenizer.encode import Tokenizer  # SentencePiece: held-out sets need none

    path = root / "tokenizer" / "tokenizer.model"
    tokenizer = Tokenizer.load(path)
    if tokenizer.sha256 != shards.manifest["tokenizer_sha256"]:
        raise ConfigError(
            f"{path} is not the tokenizer that made the shards in {shards.folder}: put it back, or "
            "build again"
        )
    return tokenizer


def unused(tokenizer: "Tokenizer") -> tuple[int, ...]:
    """Return the tokens never to generate: none was ever a training target."""
    # A model without padding pads with its end of text.
    return tuple(sorted({tokenizer.pad_id, tokenizer.unk_id} - {tokenizer.eos_id}))


def load(root: Location, config: Config) -> Trained:
    """Return the last checkpoint of the run in `root`.

    Raises:
      InputError: there are no shards or no checkpoint, or they cannot be read.
      ConfigError: the checkpoint is of another model, or was trained on other shards.
    """
    shards = Shards.open(root / "shards")
    size = dimensions(config.train, shards.manifest["vocab_size"], shards.sequence_length)
    params = load_params(root, size, fingerprint(shards))
    with Checkpoints(root, {}, read_only=True) as checkpoints:
        step = checkpoints.last_step
    assert step is not None
    return Trained(
        root=root,
        shards=shards,
        size=size,
        params=params,
        step=step,
        precision=config.train.precision,
        batch_size=config.train.micro_batch_size or config.train.batch_size,
    )
