"""Parses the command line and calls one command. Imports nothing heavy, so `--help` is instant.

Exit codes: 0 done; 1 a failure of ours; 2 wrong usage or config, nothing was run; 3 unusable
input; 4 a stage stopped, the same command continues it; 5 an output is not what its manifest says;
130 interrupted.
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
    "evaluate": ("train", "bits per byte of every held-out subset", "evaluate my.yaml"),
    "generate": (
        "train",
        "continue a prompt with the trained model",
        'generate my.yaml "The origin of"',
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
    "verify": ("verify", "check every output against its manifest", "verify out/small"),
    "demo": ("demo", "everything on text this machine already has", "demo"),
}
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
        if module in ("build", "train"):
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
        if module in ("build", "train", "thresholds", "mixture"):
            sub.add_argument(
                "--set",
                action="append",
                default=[],
                metavar="KEY=VALUE",
                dest="overrides",
                help="override a key of the config, such as mixture.tokens=1_000_000",
            )
        if module in ("build", "demo", "train_classifier"):
            _workers(sub)
        if module == "build":
            sub.add_argument(
                "--dry-run", action="store_true", help="check, print config and plan, run nothing"
            )
            sub.epilog = f"{sub.epilog}\n\nBeam's own flags follow after '--'"
        if module in ("why", "verify", "thresholds"):
            sub.add_argument("out", metavar="OUT", help="the output folder of a build")
        if name == "why":
            sub.add_argument("id", metavar="ID", help="id or URL of a document")
        if name == "generate":
            sub.add_argument("prompt", metavar="PROMPT", help="the text to continue")
            sub.add_argument("--tokens", type=int, default=64, help="tokens to add (default 64)")
            sub.add_argument("--temperature", type=float, default=0.8, help="0 is greedy")
            sub.add_argument("--top-k", type=int, default=40, help="0 keeps every token")
            sub.add_argument("--seed", type=int, default=0, help="of the sampling")
        if name == "train-classifier":
            _train_classifier(sub)
        if module == "tokenizer":
            _tokenizer(sub, name)
        if name == "demo":
            sub.add_argument("--output", default="out/demo", help="folder (default out/demo)")
        if name == "train":
            sub.add_argument("--quiet", action="store_true", help="no line per step")
        sub.set_defaults(module=module, beam_args=(), parser=sub)
    return top


def _workers(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        metavar="N",
        help="worker processes of the local runner (default: one per core)",
    )


def _train_classifier(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL", help="file to write, such as quality.bin")
    for label, meaning in (("reference", "text of high quality"), ("raw", "unfiltered web text")):
        sub.add_argument(
            f"--{label}",
            nargs="+",
            required=True,
            metavar="PATH",
            help=f"{meaning}: files, globs or folders of JSONL, Parquet, WARC, WET or MediaWiki",
        )
    sub.add_argument(
        "--documents", type=int, default=100_000, metavar="N", help="of each class (default 100000)"
    )
    sub.add_argument(
        "--bytes-per-document",
        type=int,
        default=10_000,
        metavar="N",
        help="of each document, at most (default 10000)",
    )
    sub.add_argument("--seed", type=int, default=1, help="of the sample and the training")


def _tokenizer(sub: argparse.ArgumentParser, command: str) -> None:
    model = "a SentencePiece model"
    if command == "import-tokenizer":
        sub.add_argument("json", metavar="TOKENIZER.JSON", help="of Hugging Face's tokenizers")
        sub.add_argument("model", metavar="MODEL", help=f"{model} to write, such as own.model")
        sub.add_argument("--eos", metavar="TOKEN", help="the special token that ends a document")
        return
    if command == "export-tokenizer":
        sub.add_argument("model", metavar="MODEL", help=model)
        sub.add_argument("json", metavar="TOKENIZER.JSON", help="file to write")
        return
    sub.add_argument("model", metavar="MODEL", help=f"{model} or a tokenizer.json")
    sub.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="output folder of a build, or files, globs or folders of JSONL, Parquet or text",
    )
    sub.add_argument("--against", metavar="OTHER", help="another tokenizer to compare with")
    sub.add_argument(
        "--bytes",
        type=int,
        default=4_000_000,
        metavar="N",
        help="of text drawn of each subset, at most (default 4000000)",
    )
    sub.add_argument("--seed", type=int, default=1, help="of the sample")
    sub.add_argument(
        "--output",
        default="tokenizer-report",
        metavar="NAME",
        help="writes NAME.json and NAME.svg (default tokenizer-report)",
    )


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
