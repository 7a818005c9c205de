"""`massivetext train`, `evaluate`, `generate` and `export`: the JAX side."""

import argparse
import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..card import align
from ..config import Config
from ..config_file import load
from ..dataset import claimed
from ..errors import ConfigError, MassivetextError
from ..progress import human_bytes
from ..storage import Location, is_remote, location

if TYPE_CHECKING:
    from massivetext.evaluation.trained import Trained
    from massivetext.trainer.train import TrainResult


def run(options: argparse.Namespace) -> int:
    config = load(Path(options.config), options.overrides).config
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    root = location(config.output)
    # On an object store, opening the shards tells a missing one from one that may not be read.
    if not is_remote(root) and not (root / "shards" / "manifest.json").exists():
        raise ConfigError(f"no shards in {root}; run: massivetext build {options.config}")
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "generate": _generate,
        "export": _export,
    }
    return commands[options.command](root, config, options)


def _train(root: Location, config: Config, options: argparse.Namespace) -> int:
    profile = _steps(options.profile) if options.profile else None
    first = True
    if options.distributed:
        import jax

        from massivetext.trainer.distributed import initialise

        initialise()
        first = jax.process_index() == 0
    from massivetext.evaluation.samples import make_sampler
    from massivetext.trainer.train import train

    # Of several processes the first holds the folder, and writes for all.
    with claimed(root) if first else nullcontext():
        sampler = make_sampler(root, config)
        result = train(root, config, sampler=sampler, quiet=options.quiet, profile=profile)
    if first:
        print(result_table(result))
    return 0


def _steps(text: str) -> tuple[int, int]:
    """Return (start, stop) of `start:stop`."""
    start, _, stop = text.partition(":")
    if not (start.isdecimal() and stop.isdecimal()):
        raise ConfigError(f"--profile is {text!r}; it must be START:STOP, such as 10:15")
    return int(start), int(stop)


def result_table(result: "TrainResult") -> str:
    """Return bits per byte of every held-out subset before and after training, as text."""
    rows = [["held out", "bits per byte before", "after"]]
    for name, before in result.bpb_before.items():
        rows.append([name, f"{before:.3f}", f"{result.bpb_after[name]:.3f}"])
    skipped = f", {result.skipped} steps skipped" if result.skipped else ""
    skipped += f", {result.rewinds} rewinds" if result.rewinds else ""
    return (
        f"{align(rows)}\n\n{result.parameters:,} parameters, {result.steps:,} steps, "
        f"{result.tokens:,} tokens, loss {result.loss_first:.3f} -> {result.loss_last:.3f}{skipped}"
    )


def _evaluate(root: Location, config: Config, options: argparse.Namespace) -> int:
    if options.shots and not options.task:
        raise ConfigError("--shots needs --task")
    if not options.text and not options.task:
        from massivetext.evaluation.texts import evaluate

        rows = [["held out", "bits per byte"]]
        rows += [[name, f"{bits:.4f}"] for name, bits in evaluate(root, config).items()]
        print(align(rows))
        return 0

    from massivetext.evaluation.trained import load as load_trained

    trained = load_trained(root, config)
    if options.text:
        print(_text_table(trained, options.text))
    if options.task:
        print(_task_table(trained, options.task, options.shots, options.seed))
    return 0


def _text_table(trained: "Trained", paths: list[str]) -> str:
    from massivetext.evaluation.texts import evaluate_files

    rows = [["text", "bits per byte", "bytes", "tokens"]]
    for name, loss in evaluate_files(trained, map(Path, paths)).items():
        rows.append(
            [name, f"{loss.bits_per_byte:.4f}", f"{loss.text_bytes:,}", f"{loss.targets:,}"]
        )
    return align(rows)


def _task_table(trained: "Trained", path: str, shots: int, seed: int) -> str:
    from massivetext.evaluation.tasks import Completions, evaluate_task

    found = evaluate_task(trained, Path(path), shots, seed)
    rows = [[path, f"{shots}-shot"], ["items", f"{found.items:,}"]]
    rows.append(["accuracy", f"{found.accuracy:.4f}"])
    if isinstance(found, Completions):
        rows.append(["log-probability of a target", f"{found.log_probability:.4f}"])
        rows.append(["perplexity of a target", f"{found.perplexity:,.4g}"])
    else:
        rows.append(["accuracy per byte", f"{found.accuracy_per_byte:.4f}"])
        rows.append(["by chance", f"{found.chance:.4f}"])
    if found.truncated:
        rows.append(["contexts cut to fit", f"{found.truncated:,}"])
    return align(rows)


def _generate(root: Location, config: Config, options: argparse.Namespace) -> int:
    from massivetext.evaluation.decoding import Decoding
    from massivetext.evaluation.generate import generate

    how = Decoding(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        contrastive=options.contrastive,
        candidates=options.candidates,
    )
    print(generate(root, config, options.prompt, options.tokens, how, options.seed))
    return 0


def _export(root: Location, config: Config, options: argparse.Namespace) -> int:
    if importlib.util.find_spec("safetensors") is None:
        raise MassivetextError('export needs safetensors; run: pip install "massivetext[train]"')
    from massivetext.evaluation.export import export

    written = export(root, config, Path(options.file))
    print(f"{options.file}: {human_bytes(written)}")
    return 0
