"""`manifest.json` of a folder of shards: read, and refused unless its parts agree (docs/shards.md).

A manifest edited by hand, or one that is of other shards, is found before a record is read: what it
says twice must be the same. `verify` proves the rest.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from .dataset import parse_json
from .errors import InputError, StageError
from .storage import Location, read_bytes
from .store_errors import reason
from .tfrecord import layout

FORMAT = "massivetext-shards"
VERSION = 1
DTYPES = ("uint16", "uint32")

KEYS: dict[str, type] = {
    **dict.fromkeys(("sequence_length", "record_bytes", "sequences", "vocab_size"), int),
    **dict.fromkeys(("eos_id", "pad_id"), int),
    **dict.fromkeys(("dtype", "tokenizer_sha256"), str),
    **dict.fromkeys(("files", "subsets"), list),
    "heldout": dict,
}
SUBSET_KEYS: dict[str, type] = {"name": str, "index": int, "available_tokens": int}
FILE_KEYS: dict[str, type] = {"path": str, "bytes": int, "sha256": str}
TRAIN_KEYS = {**FILE_KEYS, "records": int}
HELDOUT_KEYS = {
    **FILE_KEYS,
    **dict.fromkeys(("sequences", "targets", "text_bytes", "documents"), int),
}


def read_manifest(path: Location) -> dict[str, Any]:
    """Return the manifest at `path`.

    Raises:
      InputError: there is none, it is of another format or version, a key is missing or not of its
        type, or two parts of it contradict each other; names the file and the key.
    """
    try:
        manifest = parse_json(read_bytes(path), path)
    except FileNotFoundError as error:
        raise InputError(
            f"no shards in {path.parent}: {path} is missing; run massivetext mix first"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)})") from error
    except (StageError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON; run massivetext mix again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not a manifest of shards (format {FORMAT!r})")
    if manifest.get("version") != VERSION:
        raise InputError(
            f"{path} has version {manifest.get('version')}; this massivetext reads {VERSION}: "
            "use the one that wrote it, or run massivetext mix again"
        )
    _check(path, manifest)
    return manifest


def _check(path: Location, manifest: dict[str, Any]) -> None:
    _check_keys(path, "", manifest, KEYS)
    length, dtype = manifest["sequence_length"], manifest["dtype"]
    if length < 1 or dtype not in DTYPES:
        _refuse(path, f"sequence_length is {length} and dtype {dtype!r} (of {', '.join(DTYPES)})")
    width = layout(length + 1, dtype).record_bytes
    if manifest["record_bytes"] != width:
        _refuse(
            path,
            f"record_bytes is {manifest['record_bytes']}, but a record of {length} + 1 tokens of "
            f"{dtype} has {width}",
        )
    for index, subset in enumerate(manifest["subsets"]):
        _check_keys(path, f"subsets[{index}].", subset, SUBSET_KEYS)
        if subset["index"] != index:
            _refuse(path, f"subsets[{index}].index is {subset['index']}")
    listed: set[str] = set()
    for number, entry in enumerate(manifest["files"]):
        _check_keys(path, f"files[{number}].", entry, TRAIN_KEYS)
        _check_file(path, f"files[{number}]", entry, entry["records"] * width, listed)
    names = {subset["name"] for subset in manifest["subsets"]}
    for name, entry in manifest["heldout"].items():
        _check_keys(path, f"heldout.{name}.", entry, HELDOUT_KEYS)
        _check_file(path, f"heldout.{name}", entry, entry["sequences"] * width, listed)
        if name not in names:
            _refuse(path, f"heldout.{name} is of no subset")
    records = sum(entry["records"] for entry in manifest["files"])
    if records != manifest["sequences"]:
        _refuse(path, f"its files hold {records} records; sequences is {manifest['sequences']}")


def _check_keys(path: Location, where: str, values: Any, keys: Mapping[str, type]) -> None:
    if not isinstance(values, dict):
        _refuse(path, f"{where.rstrip('.')} is not an object")
    for key, kind in keys.items():
        if key not in values:
            _refuse(path, f"{where}{key} is missing")
        # To JSON, and to Python, true is a 1 of another type.
        if type(values[key]) is not kind or (kind is int and values[key] < 0):
            _refuse(path, f"{where}{key} is {values[key]!r:.80}")


def _check_file(
    path: Location, where: str, entry: Mapping[str, Any], size: int, listed: set[str]
) -> None:
    if entry["bytes"] != size:
        _refuse(
            path, f"{where} ({entry['path']}) has {entry['bytes']:,} bytes; its records {size:,}"
        )
    if entry["path"] in listed:
        _refuse(path, f"{where}: {entry['path']} is listed twice")
    listed.add(entry["path"])


def _refuse(path: Location, what: str) -> NoReturn:
    raise InputError(
        f"{path}: {what}; it changed after it was written: restore it or run massivetext mix again"
    )
