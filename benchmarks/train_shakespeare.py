"""Rows of train.py: validation loss on tiny Shakespeare by characters, in nanoGPT's CPU setting.

4 layers, 4 heads, 128 wide, 64 characters of context, 12 sequences a batch, 2,000 updates; the rate
warms up to 1e-3 over 100 of them and falls to 1e-4. The first 90 % of the text are trained on, the
rest is the validation set, each of its characters once. nanoGPT's own README gives 1.88.
"""

import math
from pathlib import Path

import corpora
import numpy as np
from report import Bench, Row
from train_corpus import write_shards

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.config_train import Override

TEXT = "books/tiny_shakespeare.txt"
NAME = "shakespeare"
CONTEXT, BATCH, STEPS, QUICK_STEPS = 64, 12, 2000, 20
SEEDS = (1, 2, 3)
MODELS = {"gopher, relative": "gopher-44m", "palm, rotary": "palm-8b"}


def shakespeare(bench: Bench) -> None:
    """One run of each family and seed: shards, training, the loss on the whole validation set."""
    text = corpora.locate(TEXT).read_bytes()
    characters, tokens = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    split = len(tokens) * 9 // 10
    stores = {"subsets": {NAME: tokens[:split]}, "heldout": {NAME: tokens[split:]}}
    # The text ends with a line, so a line's end can stand for the end of text.
    newline = int(np.flatnonzero(characters == ord("\n"))[0])
    bench.report.body["corpora"][NAME] = {
        "bytes": len(text), "vocabulary": len(characters), "validation": len(tokens) - split,
    }  # fmt: skip
    steps = QUICK_STEPS if bench.quick else STEPS
    for family, model in MODELS.items():
        for seed in SEEDS[:1] if bench.quick else SEEDS:
            root = bench.folder / f"{model}-{seed}"
            plan = config(root, seed, model, steps)
            write_shards(root, plan, stores, len(characters), newline)
            bench.report.add(_row(f"{family}, seed {seed}", root, plan, steps == STEPS))


def config(root: Path, seed: int, model: str, steps: int) -> Config:
    """Return the config of one run; the seed sets the initial parameters and the order."""
    return Config(
        output=str(root),
        subsets={NAME: Subset(input=("none",))},
        seed=seed,
        mixture=Mixture(
            tokens=STEPS * BATCH * CONTEXT, weights={NAME: 1.0}, sequence_length=CONTEXT
        ),
        train=Train(
            model=model,
            override=Override(layers=4, heads=4, kv_size=32, d_model=128),
            steps=steps,
            batch_size=BATCH,
            learning_rate=1e-3,
            warmup_steps=100,
            remat="none",
            checkpoint_every=steps,
            evaluate_sequences=1 << 30,
        ),
    )


def _row(what: str, root: Path, plan: Config, whole: bool) -> Row:
    # Only now: sections that need no JAX start without it.
    from massivetext.trainer.train import train

    result = train(root, plan, quiet=True)
    # A character is a byte and a token: bits per byte are bits per token.
    loss = result.bpb_after[NAME] * math.log(2)
    detail = {
        "parameters": result.parameters,
        "steps": result.steps,
        "seconds": result.seconds,
        "loss_before": result.bpb_before[NAME] * math.log(2),
        "training_loss_last": result.loss_last,
    }
    most = 1.88 if whole else None
    return Row("shakespeare", what, loss, "nats", at_most=most, detail=detail)
