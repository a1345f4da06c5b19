"""Config values from several places, laid over each other, with their origin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from algorithms import strict_yaml

Plain = dict[str, Any]
Layer = tuple[str, Plain]
_MISSING: Any = object()


class ConfigError(ValueError):
    """A config that cannot be used; the message is one sentence."""


def default_layer(name: str) -> Layer:
    """The algorithm's own file; without one every key has its default but `env.name`."""
    file = resources.files("configs") / f"{name}.yaml"
    if not file.is_file():
        return "defaults", {"env": {"name": "interest_evolution"}}
    return f"configs/{name}.yaml", _mapping(f"configs/{name}.yaml", file.read_text("utf-8"))


def read_layer(path: Path) -> Layer:
    """A user's file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None
    return str(path), _mapping(str(path), text)


def _mapping(source: str, text: str) -> Plain:
    try:
        data = strict_yaml.load(text)
    except strict_yaml.YamlError as error:
        raise ConfigError(f"{source}, {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{source} holds a {type(data).__name__}; it must hold keys and values")
    return data


def override_layer(text: str) -> Layer:
    """`a.b=value` as `{a: {b: value}}`; the value is read as YAML."""
    source = f"--set {text}"
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{source}: write it as key=value, with dots in the key")
    try:
        data: Any = strict_yaml.load(value)
    except strict_yaml.YamlError as error:
        raise ConfigError(f"{source}: {error}") from None
    for part in reversed(parts):
        data = {part: data}
    return source, data


def merge(layers: Iterable[Layer]) -> Plain:
    """Later layers over earlier ones, key by key; `null` takes a whole section's place.

    A layer that names another world drops the earlier one's arguments and history.
    """
    result: Plain = {}
    for _, data in layers:
        earlier, env = result.get("env"), data.get("env")
        if isinstance(earlier, dict) and isinstance(env, dict):
            if env.get("name", earlier.get("name")) != earlier.get("name"):
                kept = ("name", "backend", "device")
                result["env"] = {key: earlier[key] for key in kept if key in earlier}
                result.pop("history", None)
        result = _over(result, data)
    return result


def _over(below: Plain, above: Plain) -> Plain:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            value = _over(below[key], value)
        result[key] = value
    return result


def origin(layers: Sequence[Layer], location: Sequence[Any]) -> str:
    """Where the value at a location came from."""
    for length in range(len(location), 0, -1):
        for source, data in reversed(layers):
            value: Any = data
            for part in location[:length]:
                value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
            if value is not _MISSING:
                return source
    return layers[0][0]


def dotted(location: Iterable[Any]) -> str:
    """A location as it is written in `--set`."""
    return ".".join(str(part) for part in location)
