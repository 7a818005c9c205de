"""Reads a YAML file into `Config`: every mistake is an error with file, line and nearest name.

Strings may hold `${VARIABLE}`; `overrides` are `a.b=c` as given to `--set`, with YAML values.
"""

import math
import os
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from .config import Config
from .errors import ConfigError, nearest

MAX_BYTES = 1 << 20
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Loaded:
    """A config and where each of its keys was written."""

    config: Config
    marks: dict[str, str]

    def where(self, key: str) -> str:
        """Return `file:line` of the dotted `key`, or of its nearest parent."""
        while key and key not in self.marks:
            key = key.rpartition(".")[0]
        return self.marks.get(key, "config")


def load(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and validate the config at `path`.

    Raises:
      ConfigError: the file cannot be read, or a key, type or value is wrong; names file and line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} has over {MAX_BYTES} bytes; a config is a small YAML file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        siblings = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"no config at {path}{nearest(path.name, siblings)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse(text, str(path), overrides)


def parse(text: str, name: str, overrides: Sequence[str] = ()) -> Loaded:
    """Validate the config in `text`; `name` stands for the file in messages."""
    root = _compose(text, name)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{name}: expected keys such as 'output:' and 'subsets:'")
    for override in overrides:
        _apply(root, override)
    builder = _Builder()
    return Loaded(builder.build(Config, root, ""), builder.marks)


def _compose(text: str, name: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    loader.name = name
    try:
        return loader.get_single_node()
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or "nested too deep"
        raise ConfigError(f"{name}{line}: not valid YAML: {problem}") from error
    finally:
        loader.dispose()


def _place(node: yaml.Node) -> str:
    name = node.start_mark.name
    return name if name.startswith("--set") else f"{name}:{node.start_mark.line + 1}"


def _apply(root: yaml.MappingNode, override: str) -> None:
    """Set the dotted key of `a.b=c` in the tree."""
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not key:
        raise ConfigError(f"{where}: expected KEY=VALUE, such as mixture.tokens=1_000_000")
    value = _compose(text, where)
    if value is None:
        value = yaml.ScalarNode("tag:yaml.org,2002:null", "", root.start_mark, root.end_mark)
    node = root
    *parents, last = key.split(".")
    for part in parents:
        child = next((v for k, v in node.value if k.value == part), None)
        if not isinstance(child, yaml.MappingNode):
            child = yaml.MappingNode("tag:yaml.org,2002:map", [], value.start_mark, value.end_mark)
            _put(node, part, child, value)
        node = child
    _put(node, last, value, value)


def _put(node: yaml.MappingNode, key: str, value: yaml.Node, mark: yaml.Node) -> None:
    node.value = [(k, v) for k, v in node.value if k.value != key]
    scalar = yaml.ScalarNode("tag:yaml.org,2002:str", key, mark.start_mark, mark.end_mark)
    node.value.append((scalar, value))


class _Builder:
    """Turns YAML nodes into the dataclasses of `config`, remembering where each key stood."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, kind: Any, node: yaml.Node, key: str) -> Any:
        self.marks[key] = _place(node)
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._optional(kind, node, key)
        if is_dataclass(kind):
            return self._dataclass(kind, node, key)
        if origin is tuple:
            return self._tuple(get_args(kind)[0], node, key)
        if origin is dict:
            return self._dict(get_args(kind)[1], node, key)
        return self._scalar(kind, node, key)

    def _optional(self, kind: Any, node: yaml.Node, key: str) -> Any:
        inner = [option for option in get_args(kind) if option is not type(None)]
        if self._is_null(node):
            return None
        return self.build(inner[0], node, key)

    @staticmethod
    def _is_null(node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"

    def _pairs(self, node: yaml.Node, key: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{_place(node)}: {key or 'the config'} must hold keys and values")
        seen: set[str] = set()
        pairs: list[tuple[str, yaml.Node, yaml.Node]] = []
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError(f"{_place(name)}: a key must be a plain name")
            if name.value in seen:
                raise ConfigError(f"{_place(name)}: {name.value!r} is given twice")
            seen.add(name.value)
            pairs.append((name.value, name, value))
        return pairs

    def _dataclass(self, kind: Any, node: yaml.Node, key: str) -> Any:
        known = {field.name.rstrip("_"): field for field in fields(kind)}
        if "enabled" in known and node.tag == "tag:yaml.org,2002:bool":
            return kind(enabled=self._scalar(bool, node, key))
        hints = get_type_hints(kind)
        values = {}
        for name, name_node, value in self._pairs(node, key):
            if name not in known:
                inside = f" in {key}" if key else ""
                raise ConfigError(
                    f"{_place(name_node)}: unknown key {name!r}{inside}{nearest(name, known)}"
                )
            field = known[name]
            child = f"{key}.{name}".lstrip(".")
            values[field.name] = self.build(hints[field.name], value, child)
        for name, field in known.items():
            required = field.default is MISSING and field.default_factory is MISSING
            if required and field.name not in values:
                raise ConfigError(f"{_place(node)}: {key or 'the config'} lacks the key {name!r}")
        try:
            return kind(**values)
        except ValueError as error:
            raise ConfigError(f"{_place(node)}: {key + ': ' if key else ''}{error}") from error

    def _tuple(self, kind: Any, node: yaml.Node, key: str) -> tuple[Any, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.build(kind, item, f"{key}.{i}") for i, item in enumerate(node.value))
        return (self.build(kind, node, key),)

    def _dict(self, kind: Any, node: yaml.Node, key: str) -> dict[str, Any]:
        result = {}
        for name, name_node, value in self._pairs(node, key):
            # Names become folders and parts of ids.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name == "heldout":
                raise ConfigError(
                    f"{_place(name_node)}: {name!r} cannot name a subset; use letters, digits, _, -"
                    " (and not 'heldout', which is a folder of ours)"
                )
            result[name] = self.build(kind, value, f"{key}.{name}")
        return result

    def _scalar(self, kind: Any, node: yaml.Node, key: str) -> Any:
        expected = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        wanted = expected.get(kind, "a name")
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(f"{_place(node)}: {key} must be {wanted}")
        if kind is str or issubclass(kind, StrEnum):
            if self._is_null(node):
                raise ConfigError(f"{_place(node)}: {key} is empty; it must be {wanted}")
            text = _expand(node)
            return text if kind is str else _member(kind, text, node, key)
        convert: dict[type, Callable[[], Any]] = {
            bool: lambda: self._bool(node),
            int: lambda: self._int(node.value),
            float: lambda: _finite(node.value.replace("_", "")),
        }
        try:
            return convert[kind]()
        except (ValueError, OverflowError) as error:
            raise ConfigError(
                f"{_place(node)}: {key} is {node.value!r}; it must be {wanted}"
            ) from error

    def _bool(self, node: yaml.ScalarNode) -> bool:
        if node.tag != "tag:yaml.org,2002:bool":
            raise ValueError(node.value)
        return bool(self._scalars.construct_yaml_bool(node))

    @staticmethod
    def _int(text: str) -> int:
        text = text.replace("_", "")
        try:
            return int(text)
        except ValueError:
            value = float(text)  # 2e7 is a fine way to write twenty million
            if not value.is_integer():
                raise
            return int(value)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _expand(node: yaml.ScalarNode) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise ConfigError(
                f"{_place(node)}: the environment variable {name} is not set; "
                f"set it, as in {name}=/path massivetext build ..."
            )
        return os.environ[name]

    return _VARIABLE.sub(replace, node.value)


def _member(kind: type[StrEnum], text: str, node: yaml.Node, key: str) -> StrEnum:
    try:
        return kind(text)
    except ValueError as error:
        valid = [member.value for member in kind]
        raise ConfigError(
            f"{_place(node)}: {key.rstrip('.0123456789')} {text!r} is unknown{nearest(text, valid)}"
        ) from error


def to_dict(value: Any) -> Any:
    """Return a config class as plain JSON values with the keys of the YAML file."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name.rstrip("_"): to_dict(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_dict(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def to_yaml(config: Config) -> str:
    """Return the resolved config as YAML that `load` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=100)
