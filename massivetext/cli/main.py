"""Parses the command line and calls one command. Imports nothing heavy, so `--help` is instant.

Exit codes: 0 done; 1 a failure of ours, or a full disk; 2 wrong usage or config, nothing was run;
3 unusable input; 4 a stage stopped, the same command continues it; 5 an output is not what its
manifest says; 130 interrupted or terminated.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import ConfigError, MassivetextError, nearest
from . import arguments


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest valid name for what it does not know."""

    def __init__(self, **options: object):
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            names = [name.strip(" '") for name in choice[2].split(",")]
            message = f"unknown command {choice[1]!r}{nearest(choice[1], names)}"
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            message = f"unknown argument {unknown[1]!r}"
            if unknown[1].startswith("-"):
                message += nearest(unknown[1].partition("=")[0], flags)
        self.exit(2, f"massivetext: {message}\n  see: {self.prog} --help\n")


# name: (module, one line, example)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "build": ("build", "run every stage, from raw text to training shards", "build my.yaml"),
    "clean": ("build", "read, extract, measure and filter", "clean my.yaml --workers 2"),
    "deduplicate": ("build", "... and find exact and near-duplicates", "deduplicate my.yaml"),
    "overlap": ("build", "... and find copies of test documents", "overlap my.yaml"),
    "train-tokenizer": ("build", "... and train the tokenizer", "train-tokenizer my.yaml"),
    "tokenize": ("build", "... and encode the documents", "tokenize my.yaml"),
    "mix": (
        "build",
        "... and write the mixture as shards",
        "mix my.yaml --set mixture.preset=gopher",
    ),
    "mixture": (
        "mixture",
        "what a mixture takes of each subset, in tokens and epochs",
        "mixture chinchilla --tokens 1.4e12",
    ),
    "train": ("train", "train a decoder on the shards", "train my.yaml --set train.steps=500"),
    "model": (
        "model",
        "what a model is and costs: parameters, FLOPs, memory per device",
        "model gopher-1.4b --mesh fsdp=4,tensor=2 --precision mixed",
    ),
    "evaluate": (
        "train",
        "bits per byte of held-out sets or texts, or the score of a task",
        "evaluate my.yaml --task lambada.jsonl",
    ),
    "generate": (
        "train",
        "continue a prompt with the trained model",
        'generate my.yaml "The origin of"',
    ),
    "export": (
        "train",
        "write the trained model as safetensors",
        "export my.yaml model.safetensors",
    ),
    "scaling": (
        "scaling",
        "fit scaling laws to runs, and predict from them",
        "scaling predict --law hoffmann --flops 5.76e23",
    ),
    "tune-mixture": (
        "tune_mixture",
        "search better sampling weights with small trainings, and confirm them",
        "tune-mixture my.yaml --set tune.runs=48",
    ),
    "ablate": (
        "ablate",
        "train the same small model on what each stage leaves",
        "ablate my.yaml --set ablate.seeds=5",
    ),
    "train-classifier": (
        "train_classifier",
        "train a quality classifier of reference text against raw web text",
        "train-classifier quality.bin --reference books/*.jsonl.gz --raw crawl/*.warc.gz",
    ),
    "tokenizer-report": (
        "tokenizer",
        "what a tokenizer spends on a corpus, by subset and language",
        "tokenizer-report out/small/tokenizer/tokenizer.model out/small",
    ),
    "export-tokenizer": (
        "tokenizer",
        "write a SentencePiece model as Hugging Face's tokenizer.json",
        "export-tokenizer out/small/tokenizer/tokenizer.model tokenizer.json",
    ),
    "import-tokenizer": (
        "tokenizer",
        "turn a tokenizer.json into a SentencePiece model",
        "import-tokenizer tokenizer.json own.model",
    ),
    "why": (
        "why",
        "explain what happened to a document",
        "why out/small 'massiveweb/pages.warc.gz#17'",
    ),
    "thresholds": (
        "thresholds",
        "what other thresholds would keep and drop, from stored signals",
        "thresholds out/small --set quality.min_words=100",
    ),
    "card": (
        "card",
        "a page on what the dataset is made of, and its data as JSON",
        "card out/small --against out/other",
    ),
    "inspect": (
        "inspect",
        "browse the documents, kept and dropped, in a web browser",
        "inspect out/small",
    ),
    "contamination": (
        "contamination",
        "how much of each test set stands in the training documents",
        "contamination out/small --test-set lambada.jsonl",
    ),
    "memorisation": (
        "memorisation",
        "how much of its training documents the model continues by heart",
        "memorisation my.yaml --spans 500",
    ),
    "verify": ("verify", "check every output against its manifest", "verify out/small"),
    "demo": ("demo", "everything on text this machine already has", "demo"),
}
# The commands that take the YAML file of a build.
TAKE_CONFIG = ("build", "train", "tune_mixture", "ablate", "memorisation")
UNTIL = {
    "build": "shards",
    "clean": "clean",
    "deduplicate": "deduplicate",
    "overlap": "overlap",
    "train-tokenizer": "tokenizer",
    "tokenize": "tokens",
    "mix": "shards",
}


def parser() -> Parser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="massivetext",
        description="Raw text in, trained language model out, as DeepMind built MassiveText.",
        epilog="start here:\n  massivetext demo",
    )
    top.add_argument("--version", action="version", version=f"massivetext {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, line, example) in COMMANDS.items():
        sub = commands.add_parser(
            name, help=line, description=line, epilog=f"example:\n  massivetext {example}"
        )
        if module in TAKE_CONFIG:
            sub.add_argument("config", metavar="CONFIG", help="the YAML file of the build")
        if module == "mixture":
            sub.add_argument(
                "mixture",
                metavar="PRESET|CONFIG",
                help="gopher, chinchilla, gpt3, mt_nlg, palm, or the YAML file of a build",
            )
            sub.add_argument(
                "--tokens", metavar="N", help="the budget (default: the paper's or the config's)"
            )
        if module in (*TAKE_CONFIG, "thresholds", "mixture"):
            sub.add_argument(
                "--set",
                action="append",
                default=[],
                metavar="KEY=VALUE",
                dest="overrides",
                help="override a key of the config, such as mixture.tokens=1_000_000",
            )
        if module in ("build", "demo", "train_classifier", "tune_mixture", "ablate"):
            arguments.workers(sub)
        if module == "build":
            sub.add_argument(
                "--dry-run", action="store_true", help="check, print config and plan, run nothing"
            )
            sub.epilog = f"{sub.epilog}\n\nBeam's own flags follow after '--'"
        if name == "mix":
            sub.add_argument(
                "--mixture",
                metavar="FILE",
                help="weights of a mixture.json that tune-mixture wrote",
            )
        if module in ("why", "verify", "thresholds", "card", "inspect", "contamination"):
            sub.add_argument("out", metavar="OUT", help="the output folder of a build")
        if name == "why":
            sub.add_argument("id", metavar="ID", help="id or URL of a document")
        if name == "card":
            arguments.card(sub)
        if name == "inspect":
            arguments.inspect(sub)
        if name == "contamination":
            arguments.contamination(sub)
        if name == "memorisation":
            arguments.memorisation(sub)
        if name == "model":
            arguments.model(sub)
        if module == "train":
            arguments.train(sub, name)
        if name == "scaling":
            arguments.scaling(sub)
        if name == "train-classifier":
            arguments.train_classifier(sub)
        if module == "tokenizer":
            arguments.tokenizer(sub, name)
        if name == "demo":
            sub.add_argument("--output", default="out/demo", help="folder (default out/demo)")
        sub.set_defaults(module=module, beam_args=(), parser=sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    beam_args: tuple[str, ...] = ()
    if "--" in words:
        cut = words.index("--")
        words, beam_args = words[:cut], tuple(words[cut + 1 :])
    options, unknown = parser().parse_known_args(words)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        if beam_args and options.module != "build":
            raise ConfigError(f"massivetext {options.command} takes no Beam flags")
        if getattr(options, "workers", 1) < 1:
            raise ConfigError(f"--workers is {options.workers}; it must be at least 1")
        options.beam_args = beam_args
        command = importlib.import_module(f".{options.module}", __package__)
        return int(command.run(options) or 0)
    except MassivetextError as error:
        print(f"massivetext: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("massivetext: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
