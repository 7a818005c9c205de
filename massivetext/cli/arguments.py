"""Arguments of each command, apart from what they do: nothing here imports anything heavy."""

import argparse

from ..threads import cores


def workers(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--workers",
        type=int,
        default=cores(),
        metavar="N",
        help="worker processes of the local runner (default: one per core)",
    )


def train(sub: argparse.ArgumentParser, command: str) -> None:
    if command == "train":
        sub.add_argument("--quiet", action="store_true", help="no line per step")
        sub.add_argument(
            "--profile",
            metavar="START:STOP",
            help="trace these steps, such as 10:15, to train/profile",
        )
        sub.add_argument(
            "--distributed",
            action="store_true",
            help="be one process of several (docs/training.md)",
        )
    if command == "evaluate":
        sub.add_argument(
            "--text", nargs="+", metavar="FILE", help="text files instead of the held-out sets"
        )
        sub.add_argument("--task", metavar="FILE.jsonl", help="completions or multiple choice")
        sub.add_argument("--shots", type=int, default=0, help="examples before each item, 0 to 5")
        sub.add_argument("--seed", type=int, default=0, help="of the examples")
    if command == "generate":
        sub.add_argument("prompt", metavar="PROMPT", help="the text to continue")
        sub.add_argument("--tokens", type=int, default=64, help="tokens to add (default 64)")
        sub.add_argument("--temperature", type=float, default=0.8, help="0 is greedy")
        sub.add_argument("--top-k", type=int, default=40, help="0 keeps every token")
        sub.add_argument(
            "--top-p", type=float, default=1.0, help="draw among the likeliest of this share"
        )
        sub.add_argument(
            "--contrastive",
            type=float,
            metavar="ALPHA",
            help="contrastive search, such as 0.6, instead of drawing",
        )
        sub.add_argument(
            "--candidates", type=int, default=5, help="of contrastive search (default 5)"
        )
        sub.add_argument("--seed", type=int, default=0, help="of the sampling")
    if command == "export":
        sub.add_argument("file", metavar="FILE", help="safetensors file to write")


def train_classifier(sub: argparse.ArgumentParser) -> None:
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


def tokenizer(sub: argparse.ArgumentParser, command: str) -> None:
    kind = "a SentencePiece model"
    if command == "import-tokenizer":
        sub.add_argument("json", metavar="TOKENIZER.JSON", help="of Hugging Face's tokenizers")
        sub.add_argument("model", metavar="MODEL", help=f"{kind} to write, such as own.model")
        sub.add_argument("--eos", metavar="TOKEN", help="the special token that ends a document")
        return
    if command == "export-tokenizer":
        sub.add_argument("model", metavar="MODEL", help=kind)
        sub.add_argument("json", metavar="TOKENIZER.JSON", help="file to write")
        return
    sub.add_argument("model", metavar="MODEL", help=f"{kind} or a tokenizer.json")
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


def model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("preset", metavar="PRESET", help="such as gopher-1.4b, palm-8b or gpt3-125m")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a dimension (d_model=1024, positions=rotary) or a key of train (remat=full)",
    )
    sub.add_argument(
        "--mesh", default="", metavar="AXES", help="devices, such as fsdp=4,tensor=2 (default one)"
    )
    sub.add_argument("--precision", metavar="P", help="float32, mixed or bfloat16")
    sub.add_argument("--batch", type=int, metavar="N", help="sequences in a batch (default 8)")
    sub.add_argument(
        "--length", type=int, metavar="T", help="tokens of a sequence (default: the paper's)"
    )
    sub.add_argument(
        "--vocab", type=int, metavar="V", help="size of the vocabulary (default: the paper's)"
    )
    sub.add_argument("--json", action="store_true", help="print as JSON, in units of one")


def scaling(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", required=True, metavar="run|fit|predict")
    line = "train a ladder of sizes on a build, the config's section scaling"
    example = "massivetext scaling run my.yaml --set scaling.budgets='[1e13, 3e13, 1e14]'"
    ladder = actions.add_parser("run", help=line, description=line, epilog=f"example:\n  {example}")
    ladder.add_argument("config", metavar="CONFIG", help="the YAML file of the build")
    ladder.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key of the config, such as scaling.train.learning_rate=1e-3",
    )
    workers(ladder)
    line = "fit scaling laws to a table of runs"
    example = "massivetext scaling fit runs.csv --drop-highest 5"
    fit = actions.add_parser("fit", help=line, description=line, epilog=f"example:\n  {example}")
    fit.add_argument(
        "runs",
        metavar="RUNS.csv",
        help="a CSV with a header: parameters, tokens and/or flops, loss; with a column run, the "
        "rows of a run are its training curve",
    )
    fit.add_argument(
        "--approach",
        default="all",
        choices=("envelope", "isoflop", "parametric", "kaplan", "all"),
        help="of Hoffmann et al. 2022 or Kaplan et al. 2020 (default all that the runs allow)",
    )
    fit.add_argument(
        "--flops",
        choices=("column", "6nd"),
        default="column",
        help="the file's FLOPs where it has them, or 6ND of every run (default column)",
    )
    fit.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="COLUMN=NAME",
        help="the header of a column, such as loss=validation",
    )
    fit.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="COLUMN=UNIT",
        help="parameters or tokens=M, B; flops=pf-days; loss=bits, perplexity",
    )
    fit.add_argument(
        "--drop-highest",
        type=int,
        default=0,
        metavar="K",
        help="runs of the highest losses that the parametric law leaves out (default none)",
    )
    fit.add_argument(
        "--resamples",
        type=int,
        default=100,
        metavar="N",
        help="subsamples of the runs, for the intervals (default 100)",
    )
    fit.add_argument("--seed", type=int, default=1, help="of the subsamples")
    fit.add_argument(
        "--output",
        default="scaling",
        metavar="DIR",
        help="for fit.json and plots (default scaling)",
    )
    line = "the best size, its tokens and the loss to expect for a budget"
    example = "massivetext scaling predict --law hoffmann --flops 5.76e23"
    predict = actions.add_parser(
        "predict", help=line, description=line, epilog=f"example:\n  {example}"
    )
    predict.add_argument(
        "fit", metavar="FIT.json", nargs="?", help="as scaling fit wrote it, or its folder"
    )
    predict.add_argument(
        "--law",
        choices=("hoffmann", "epoch", "muennighoff"),
        help="published constants instead",
    )
    predict.add_argument("--flops", required=True, metavar="C", help="the budget, as 6ND")
    predict.add_argument(
        "--data", metavar="TOKENS", help="different tokens that there are; more are repetitions"
    )
    predict.add_argument("--parameters", metavar="N", help="a size to compare with the best one")
    for action in (ladder, fit, predict):
        action.set_defaults(parser=action)


def card(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--against", metavar="OTHER", help="output folder to compare with")
    sub.add_argument(
        "--output",
        metavar="FILE.html",
        help="page to write, its data as FILE.json beside it (default OUT/card.html)",
    )


def contamination(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--test-set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="JSONL files or globs instead of the config's overlap.test_sets",
    )


def memorisation(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--spans",
        type=int,
        default=1000,
        metavar="N",
        help="of training documents, and of held-out ones (default 1000)",
    )
    sub.add_argument("--seed", type=int, default=0, help="of the draw")


def inspect(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--against",
        nargs="+",
        action="extend",
        default=[],
        metavar="OTHER",
        help="folders whose training runs are shown beside this one's",
    )
    sub.add_argument(
        "--port", type=int, default=8321, metavar="N", help="default 8321; 0 takes a free one"
    )
