"""`massivetext train-classifier MODEL`: a quality classifier from reference and raw text."""

import argparse
from pathlib import Path

from ..classifier_report import table
from ..progress import Progress, human_bytes
from ..train_classifier import train


def run(options: argparse.Namespace) -> int:
    trained = train(
        Path(options.model),
        options.reference,
        options.raw,
        documents=options.documents,
        size=options.bytes_per_document,
        seed=options.seed,
        workers=options.workers,
    )
    report = trained.report
    for label, entry in report["classes"].items():
        counts = [f"{entry['records']:,} documents", f"{entry['drawn']:,} drawn"]
        for key in ("rejected", "not_extracted", "without_text"):
            if entry[key]:
                counts.append(f"{entry[key]:,} {key.replace('_', ' ')}")
        Progress.line(label, ", ".join(counts))
        if label in trained.errors:
            Progress.line("", f"such as {trained.errors[label]}")
    print(table(report["evaluation"]))
    print(
        f"trained on {report['training']['documents_per_class']:,} documents of each class\n\n"
        f"{options.model}  {human_bytes(report['model']['bytes'])}, described in "
        f"{options.model}.json, drawn in {options.model}.svg\n"
        f"to filter by it:  classifier: {{model: {options.model}}}  and the rule classifier"
    )
    return 0
