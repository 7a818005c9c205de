"""The model class of EleutherAI's lm-evaluation-harness (the extra `eval`).

    import lm_eval
    from massivetext.evaluation.harness import HarnessModel

    lm_eval.simple_evaluate(HarnessModel.load("my.yaml"), tasks=["lambada_openai", "hellaswag"])

Where the harness leaves it to the model: every context follows an end of text, as each training
document does; one that is too long loses its beginning; and `loglikelihood_rolling` cuts a text
into windows as `evaluate` does, without the end of text that `evaluate` counts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from massivetext.config_file import load as load_config
from massivetext.errors import MassivetextError

from .decoding import Decoding
from .generate import continuation
from .likelihood import Request, encode_pair, likelihoods
from .trained import Trained, load

try:
    from lm_eval.api.model import LM
except ImportError as error:
    raise MassivetextError(
        'lm-evaluation-harness is missing; run: pip install "massivetext[eval]"'
    ) from error

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

MAX_TOKENS = 256  # generated where a task does not say how many


class HarnessModel(LM):  # type: ignore[misc]
    """A trained model as the harness asks for it. Results are in the order of the requests."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.trained = trained

    @classmethod
    def load(cls, config: Path | str, overrides: Sequence[str] = ()) -> "HarnessModel":
        """Return the last checkpoint of a build, by its YAML file and `key=value` overrides.

        Raises:
          ConfigError, InputError: as `trained.load`.
        """
        loaded = load_config(Path(config), list(overrides)).config
        return cls(load(Path(loaded.output), loaded))

    def loglikelihood(
        self, requests: list["Instance"], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return of each (context, continuation) its log-likelihood, in nats, and if greedy."""
        pairs = [encode_pair(self.trained, *request.args) for request in requests]
        return [(-found.nats, found.greedy) for found in likelihoods(self.trained, pairs)]

    def loglikelihood_rolling(
        self, requests: list["Instance"], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each whole text, in nats."""
        length, results = self.trained.context, []
        for request in requests:
            text = self.trained.tokenizer.encode(request.args[0]).tolist()
            seen = [self.trained.tokenizer.eos_id, *text]
            parts = [
                Request(seen[i : i + 1], seen[i + 1 : i + 1 + length])
                for i in range(0, len(text), length)
            ]
            results.append(-sum(found.nats for found in likelihoods(self.trained, parts)))
        return results

    def generate_until(self, requests: list["Instance"], disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to the first of the task's stop strings.

        Of the task's `generation_kwargs` these count: `until`, `max_gen_toks`, `do_sample`,
        `temperature`, `top_k`, `top_p`. Greedy unless told to sample.
        """
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, settings: dict[str, Any]) -> str:
        tokenizer = self.trained.tokenizer
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        sampled = settings.get("do_sample", bool(settings.get("temperature")))
        how = Decoding(
            temperature=settings.get("temperature", 1.0) if sampled else 0.0,
            top_k=settings.get("top_k", 0),
            top_p=settings.get("top_p", 1.0),
        )
        prompt = tokenizer.encode(context).tolist()
        count = settings.get("max_gen_toks", MAX_TOKENS)
        tokens: list[int] = []
        text = ""
        for token in continuation(self.trained, prompt, count, how, seed=0):
            tokens.append(token)
            text = tokenizer.decode(np.array(tokens, tokenizer.dtype))
            ends = [text.index(stop) for stop in stops if stop and stop in text]
            if ends:
                return text[: min(ends)]
        return text
