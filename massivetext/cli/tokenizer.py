"""`massivetext tokenizer-report`, `export-tokenizer` and `import-tokenizer`."""

import argparse
from pathlib import Path

from ..dataset import atomic_file, write_json
from ..errors import ConfigError
from ..progress import human_bytes


def run(options: argparse.Namespace) -> int:
    commands = {
        "tokenizer-report": _report,
        "export-tokenizer": _export,
        "import-tokenizer": _import,
    }
    try:
        return commands[options.command](options)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename}: {error.strerror}") from error


def _report(options: argparse.Namespace) -> int:
    from massivetext.tokenizer.report import report
    from massivetext.tokenizer.report_plot import bars_svg
    from massivetext.tokenizer.report_table import table

    value = report(
        options.model, options.data, options.against, size=options.bytes, seed=options.seed
    )
    name = options.output
    write_json(Path(f"{name}.json"), value)
    with atomic_file(Path(f"{name}.svg")) as file:
        file.write(bars_svg(value).encode())
    print(table(value))
    print(
        f"\na sample of at most {human_bytes(options.bytes)} of each subset; "
        f"all of it in {name}.json, drawn in {name}.svg"
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    from massivetext.tokenizer.huggingface import export

    notes = export(options.model, options.json)
    print(f"written to {options.json}, for tokenizers 0.20 or newer")
    for note in notes:
        print(f"differs: {note}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from massivetext.tokenizer.encode import Tokenizer
    from massivetext.tokenizer.huggingface_check import convert_checked

    converted, comparison = convert_checked(options.json, options.model, options.eos)
    tokenizer = Tokenizer.load(options.model)
    spec, roles = converted.spec, converted.roles
    print(
        f"written to {options.model}: {spec.model_type}, {tokenizer.vocab_size:,} pieces, "
        + ", ".join(f"{role} {name}" for role, name in sorted(roles.items()))
    )
    if converted.unreachable:
        print(f"{converted.unreachable:,} pieces that no merges lead to have an id and no text")
    if comparison.texts:
        print(f"same tokens in {comparison.texts} texts as by {comparison.by}")
    else:
        print("not compared: pip install tokenizers to compare with the original")
    for warning in tokenizer.warnings:
        print(f"warning: not lossless: {warning}")
    return 0
