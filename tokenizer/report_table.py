"""The report of a tokenizer as text for a terminal."""

from typing import Any

from massivetext.card import align
from massivetext.progress import human_bytes

LANGUAGES = 20


def table(value: dict[str, Any]) -> str:
    """Return the value of `report.report` as text."""
    other = "against" in value
    unknown = value["all"]["unknown_tokens"] > 0
    titles = ["text", "bytes/token", "tokens/word", "byte tokens"]
    titles += ["unknown"] * unknown + ["other bytes/token"] * other

    def cells(name: str, row: dict[str, Any]) -> list[str]:
        found = [
            name,
            human_bytes(row["bytes"]),
            f"{row['bytes_per_token']:.3f}",
            f"{row['tokens_per_word']:.3f}",
            f"{row['byte_share']:.2%}",
        ]
        if unknown:
            found.append(f"{row['unknown_share']:.2%}")
        if other:
            found.append(f"{row['other_bytes_per_token']:.3f}")
        return found

    rows = [["subset", *titles]]
    rows += [cells(name, row) for name, row in value["subsets"].items()]
    if len(rows) > 2:
        rows.append(cells("all", value["all"]))
    text = [align(rows)]
    if value["languages"]:
        shown = list(value["languages"].items())[:LANGUAGES]
        text.append(align([["language", *titles], *(cells(*item) for item in shown)]))
        if hidden := len(value["languages"]) - len(shown):
            text[-1] += f"\n{hidden} more languages are in the JSON"
    text.append(_vocabulary(value["vocabulary"]))
    if other:
        text.append(_against(value["against"]))
    warnings = _warnings(value)
    return "\n\n".join([*text, *([warnings] if warnings else [])])


def _vocabulary(value: dict[str, Any]) -> str:
    learned, unused = value["learned"], value["unused"]
    lines = [f"{learned:,} learned pieces, {unused:,} ({unused / max(1, learned):.1%}) not used"]
    if value["unused_examples"]:
        lines.append(f"  not used: {_list(value['unused_examples'])}")
    lines.append(f"  longest: {_list(value['longest'])}")
    return "\n".join(lines)


def _against(value: dict[str, Any]) -> str:
    return (
        f"{value['common']:,} pieces in common with {value['path']}: "
        f"{value['share_of_model']:.2%} of this vocabulary, {value['share_of_other']:.2%} of that"
    )


def _warnings(value: dict[str, Any]) -> str:
    lines = [f"warning: not lossless: {warning}" for warning in value["model"]["warnings"]]
    if "lost" in value and value["lost"]["characters"]:
        lost = value["lost"]
        lines.append(
            f"warning: {lost['characters']:,} characters of the sample ({lost['share']:.3%}), "
            f"{lost['distinct']:,} different ones, are lost: {_list(lost['examples'])}"
        )
    if count := value["sample"]["unreadable_records"]:
        lines.append(f"warning: {count:,} records could not be read")
    return "\n".join(lines)


def _list(names: list[str]) -> str:
    return " ".join(ascii(name) if not name.isprintable() else repr(name) for name in names)
