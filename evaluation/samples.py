"""What a model writes while it is trained: short continuations of a few prompts, step by step.

They are made with the parameters where training has them, split over its devices as they are, so
every process of a run takes part and all get the same. Nothing that training uses is changed.
"""

import numpy as np

from massivetext.config import Config
from massivetext.shards import Shards
from massivetext.storage import Location
from massivetext.trainer.parameters import Params, dimensions, named_seed
from massivetext.trainer.run import Sampler

from .decoding import Decoding
from .generate import continue_tokens
from .trained import tokenizer_of, unused

# As `generate` draws by default. The likeliest token each time would show less: a model that has
# learned little then writes the same few words over and over, whatever the prompt.
HOW = Decoding()


def make_sampler(root: Location, config: Config) -> Sampler | None:
    """Return what continues `train.samples.prompts` for a run on `root/shards`, if there are any.

    What is drawn is a function of the parameters, the config's seed, the step and the prompt: a run
    that continues from a checkpoint writes what it would have written, and a prompt's samples do
    not depend on the other prompts. A text ends early where the model ends it; bytes in it that are
    no UTF-8 are U+FFFD.

    Raises:
      ConfigError: there is no tokenizer, or not that of the shards.
      InputError: there are no shards.
    """
    wanted = config.train.samples
    if wanted is None:
        return None
    shards = Shards.open(root / "shards")
    tokenizer = tokenizer_of(root, shards)
    size = dimensions(config.train, shards.manifest["vocab_size"], shards.sequence_length)
    eos = tokenizer.eos_id  # a prompt follows one, as every training document does
    prompts = {prompt: [eos, *tokenizer.encode(prompt).tolist()] for prompt in wanted.prompts}

    def sample(params: Params, step: int, prompt: str) -> str:
        added = continue_tokens(
            params,
            size,
            prompts[prompt],
            wanted.tokens,
            HOW,
            window=shards.sequence_length,
            seed=named_seed(config.seed, f"sample {step} {prompt!a}"),
            eos_id=eos,
            banned=unused(tokenizer),
            precision=config.train.precision,
        )
        return tokenizer.decode(np.array(list(added), tokenizer.dtype))

    return lambda params, step: [
        {"prompt": prompt, "text": sample(params, step, prompt)} for prompt in prompts
    ]
