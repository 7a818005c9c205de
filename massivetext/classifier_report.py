"""How well a quality classifier tells reference from raw documents: numbers, table, picture."""

from typing import Any

import numpy as np

from .card import align

THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
PARETO = 9.0  # GPT-3's shape (Brown et al. 2020, appendix A)

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 50, 44
BINS = 20
COLOURS = {"reference": "#1f5fa8", "raw": "#c8642c"}


def auc(reference: np.ndarray, raw: np.ndarray) -> float:
    """Return the area under the ROC curve: P(a reference document scores above a raw one).

    Ties count one half (Mann and Whitney 1947).
    """
    order = np.sort(raw)
    below = np.searchsorted(order, reference, "left")
    ties = np.searchsorted(order, reference, "right") - below
    return float((below + ties / 2).sum() / (len(reference) * len(raw)))


def evaluate(reference: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
    """Return the evaluation of held-out documents as JSON.

    Args:
      reference, raw: float32 probability of `reference` of the documents of either class.

    Returns:
      `auc`; `precision` and `recall` of `reference` at 0.5, for as many documents of one class as
      of the other; `kept`: a row per threshold with the share of each class at or above it; and
      `pareto`: the share of each class that GPT-3's rule keeps.
    """
    rows = [
        {
            "min_probability": threshold,
            "reference": _share(reference, threshold),
            "raw": _share(raw, threshold),
        }
        for threshold in THRESHOLDS
    ]
    recall, false = _share(reference, 0.5), _share(raw, 0.5)
    return {
        "documents": {"reference": len(reference), "raw": len(raw)},
        "auc": auc(reference, raw),
        "precision": recall / (recall + false) if recall + false else 0.0,
        "recall": recall,
        "kept": rows,
        "pareto": {
            "shape": PARETO,
            "reference": _pareto_share(reference),
            "raw": _pareto_share(raw),
        },
    }


def _share(scores: np.ndarray, threshold: float) -> float:
    # Compared as the rule does: the float32 nearest to 0.65 is not less than 0.65.
    return float((scores >= np.float32(threshold)).mean())


def _pareto_share(scores: np.ndarray) -> float:
    return float(((2.0 - scores.astype(np.float64)) ** -PARETO).mean())


def table(evaluation: dict[str, Any]) -> str:
    """Return the evaluation as text for a terminal."""
    rows = [["min_probability", "reference kept", "raw kept"]]
    for row in evaluation["kept"]:
        rows.append([f"{row['min_probability']:g}", f"{row['reference']:.1%}", f"{row['raw']:.1%}"])
    pareto = evaluation["pareto"]
    rows.append(
        [f"pareto: {pareto['shape']:g}", f"{pareto['reference']:.1%}", f"{pareto['raw']:.1%}"]
    )
    documents = [f"{count:,} {label}" for label, count in evaluation["documents"].items()]
    return (
        f"{align(rows)}\n\nheld out {', '.join(documents)}: "
        f"AUC {evaluation['auc']:.4f}; at 0.5 precision {evaluation['precision']:.3f}, "
        f"recall {evaluation['recall']:.3f}"
    )


def histogram_svg(reference: np.ndarray, raw: np.ndarray) -> str:
    """Return an SVG of how the probability of `reference` is distributed in either class."""
    scores = {"reference": reference, "raw": raw}
    shares = {
        name: np.histogram(np.clip(values, 0, 1), BINS, (0, 1))[0] / len(values)
        for name, values in scores.items()
    }
    top = max(share.max() for share in shares.values())
    wide = (WIDTH - LEFT - RIGHT) / BINS

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Held-out documents by probability of reference '
        f"(AUC {auc(reference, raw):.4f})</text>",
    ]
    for tick in range(5):
        value = top * tick / 4
        parts.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0%}</text>'
            f'<text x="{LEFT + wide * BINS * tick / 4:.1f}" y="{HEIGHT - BOTTOM + 18}" '
            f'text-anchor="middle">{tick / 4:g}</text>'
        )
    for place, (name, share) in enumerate(shares.items()):
        parts.append(
            f'<text x="{LEFT + 90 * place}" y="40" fill="{COLOURS[name]}">\u25a0 {name}</text>'
        )
        for bin_, value in enumerate(share):
            x = LEFT + wide * (bin_ + 0.08 + 0.42 * place)
            parts.append(
                f'<rect x="{x:.1f}" y="{y(value):.1f}" width="{0.42 * wide:.1f}" '
                f'height="{HEIGHT - BOTTOM - y(value):.1f}" fill="{COLOURS[name]}"/>'
            )
    parts += [
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">probability of reference'
        "</text>",
        "</svg>\n",
    ]
    return "\n".join(parts)
