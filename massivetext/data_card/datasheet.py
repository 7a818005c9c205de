"""The datasheet's questions (Gebru et al. 2021): answered from the build, or by a person.

`card.yaml` in the output folder holds what no build can know: a key per question, a text each.
`licences` and `sources` may instead hold a text per subset.
"""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, nearest
from ..progress import human_bytes

MAX_BYTES = 1 << 20
# key: (section, question)
QUESTIONS = {
    "purpose": ("Motivation", "For what purpose was the dataset made?"),
    "creators": ("Motivation", "Who made it, and on behalf of whom?"),
    "funding": ("Motivation", "Who paid for it?"),
    "instances": ("Composition", "What do the documents represent, and how many are there?"),
    "languages": ("Composition", "Which languages are they in?"),
    "sample": ("Composition", "Is it a sample of a larger set, and how was it drawn?"),
    "errors": ("Composition", "What errors, noise and repetitions are known?"),
    "splits": ("Composition", "Which splits are there?"),
    "sensitive": ("Composition", "Is there content that may offend or do harm?"),
    "sources": ("Collection", "Where does each subset come from?"),
    "timeframe": ("Collection", "When was it collected?"),
    "consent": ("Collection", "Were those who wrote it asked, and can they object?"),
    "personal_data": ("Personal data", "What personal data can it hold?"),
    "masking": ("Personal data", "What personal data was replaced?"),
    "preprocessing": ("Preprocessing", "What was done to the raw data?"),
    "raw": ("Preprocessing", "Is the raw data kept, and where?"),
    "uses": ("Uses", "What is it meant for, and what has it been used for?"),
    "misuses": ("Uses", "What should it not be used for?"),
    "licences": ("Licences", "Under which licence or terms is each subset?"),
    "distribution": ("Licences", "How is the dataset itself given to others?"),
    "contact": ("Maintenance", "Who maintains it, and how are they reached?"),
    "updates": ("Maintenance", "Will it be updated or corrected?"),
}
PER_SUBSET = ("licences", "sources")


def read(path: Path, subsets: list[str]) -> dict[str, Any]:
    """Return the answers in `path`: a text, or for some questions a text per subset.

    Raises:
      ConfigError: the file is no YAML of that shape, or names an unknown question or subset.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} has over {MAX_BYTES} bytes; a card needs a page of answers")
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold keys such as 'purpose:', each with a text")
    return {_name(path, key): _answer(path, key, text, subsets) for key, text in value.items()}


def _name(path: Path, key: Any) -> str:
    if key not in QUESTIONS:
        raise ConfigError(f"{path}: unknown key {key!r}{nearest(str(key), QUESTIONS)}")
    return str(key)


def _answer(path: Path, key: str, value: Any, subsets: list[str]) -> Any:
    if isinstance(value, dict) and key in PER_SUBSET:
        for name, text in value.items():
            if name not in subsets:
                raise ConfigError(
                    f"{path}: {key}: there is no subset {name!r}{nearest(str(name), subsets)}"
                )
            _text(path, f"{key}.{name}", text)
        return {str(name): str(text) for name, text in value.items()}
    return _text(path, key, value)


def _text(path: Path, key: str, value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        raise ConfigError(f"{path}: {key} must be a text")
    return str(value)


def answers(root: Path, card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return per question its section, its text, what is `known` and what a person `written`.

    Args:
      card: as `gather` has it so far.
    """
    written = read(root / "card.yaml", list(card["subsets"]))
    known = _known(card)
    return {
        key: {
            "section": section,
            "question": question,
            "known": known.get(key),
            "written": written.get(key),
        }
        for key, (section, question) in QUESTIONS.items()
    }


def _known(card: dict[str, Any]) -> dict[str, str]:
    """Return what the build knows about the questions."""
    subsets = card["subsets"]
    read_in = sum(entry["read"]["documents"] for entry in subsets.values())
    size = sum(entry["read"]["bytes"] for entry in subsets.values())
    found = {
        "instances": f"Text documents in {len(subsets):,} subsets: {read_in:,} were read "
        f"({human_bytes(size)} of UTF-8 text).",
        "sample": "Every readable record of the inputs was read; the build draws no sample.",
        "raw": "measured/ of the build's output keeps the text of every document before any rule.",
    }
    if all("training" in entry for entry in subsets.values()) and subsets:
        training, heldout = (
            sum(entry[key]["documents"] for entry in subsets.values())
            for key in ("training", "heldout")
        )
        found["instances"] += f" {training:,} are training documents."
        found["splits"] = (
            f"{training:,} training documents and {heldout:,} held out for evaluation, drawn per "
            "subset by a seeded hash of the id before the tokenizer was trained."
        )
    dead = sum(entry["dead_letters"] for entry in subsets.values())
    found["errors"] = f"{dead:,} records could not be read or processed and were set aside."
    if "duplicates" in card:
        found["errors"] += " Duplicates that remain are below the thresholds of the config."
    if any(entry["languages"] for entry in card["measured"].values()):
        found["languages"] = "As identified by fastText: see the table of languages."
    config = card["config"]
    if config is not None:
        found |= _configured(config, card)
    return found


def _configured(config: dict[str, Any], card: dict[str, Any]) -> dict[str, str]:
    masked = {name: s["mask"] for name, s in config["subsets"].items() if s["mask"]}
    steps = [
        f"{name}: {', '.join(entry['groups']) or 'no rules'}"
        for name, entry in card["measured"].items()
    ]
    rule = config["deduplicate"]
    text = "Rules per subset: " + "; ".join(steps) + "."
    if rule["enabled"]:
        text += (
            f" Exact and near-duplicates (Jaccard of {rule['ngram']}-grams above "
            f"{rule['jaccard']:g}) were removed, but not in: {', '.join(rule['except']) or 'none'}."
        )
    if config["overlap"]["test_sets"]:
        text += " Documents that copy a test document were removed."
    return {
        "preprocessing": text,
        "masking": "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in masked.items())
        or "None was replaced.",
        "sources": "; ".join(
            f"{name}: {', '.join(s['input'])} ({s['format']})"
            for name, s in config["subsets"].items()
        ),
    }
