"""YAML as people mean it: `1e-3` is a number, `no` is a word, a key stands once.

PyYAML follows YAML 1.1, where `1e-3` is a string, `no` is False and `1:30` is
90, and of two equal keys the last wins silently.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class YamlError(ValueError):
    """YAML that cannot be read; the message says where."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's plain scalars, `_` in numbers, and unique keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_TAG = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    "float": (
        r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _kind, (_pattern, _first) in _PATTERNS.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^({_pattern})$"), list(_first))
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile("^$"), [""])


class _Dumper(yaml.SafeDumper):
    """Quotes words that the loader would take for numbers."""


_Dumper.add_implicit_resolver(
    f"{_TAG}float", re.compile(f"^({_PATTERNS['float'][0]})$"), list(_PATTERNS["float"][1])
)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """A whole number written with an exponent, such as 3e6, counts as an int."""
    text = loader.construct_scalar(node).replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(value) if "e" in text and value.is_integer() else value


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise YamlError(f"line {line}: the key {key!r} is not a word; put it in quotes")
        if key in result:
            raise YamlError(f"line {line}: the key '{key}' stands there twice; remove one")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor(f"{_TAG}float", _number)
_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.add_constructor(f"{_TAG}map", _mapping)


def load(text: str) -> Any:
    """The one document in a text.

    Raises:
        YamlError: it cannot be read, or a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{where}not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"not valid YAML: {' '.join(str(error).split())}") from None


def dump(data: Any) -> str:
    """Plain data as YAML that `load` reads back unchanged."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=100
    )
    return text
