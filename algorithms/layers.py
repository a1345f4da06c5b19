"""Config values from several places, laid over each other, with their origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from algorithms import strict_yaml

Plain = dict[str, Any]
Layer = tuple[str, Plain]
_MISSING: Any = object()
_T = TypeVar("_T")


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What every generator of ours takes."""


class Section(BaseModel):
    """A part of a config: no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConfigError(ValueError):
    """A config that cannot be used; the message is one sentence."""


def packaged_layer(name: str) -> Layer | None:
    """A file of ours in `configs/`, by its path there without `.yaml`; `None` without one."""
    source, file = f"configs/{name}.yaml", resources.files("configs")
    for part in f"{name}.yaml".split("/"):
        file = file / part
    return (source, _mapping(source, file.read_text("utf-8"))) if file.is_file() else None


def default_layer(name: str) -> Layer:
    """The algorithm's own file; without one every key has its default but `env.name`."""
    return packaged_layer(name) or ("defaults", {"env": {"name": "interest_evolution"}})


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


def command_layers(
    name: str,
    own: Layer,
    file: Path | None,
    overrides: Iterable[str],
    changes: Mapping[str, Any],
) -> list[Layer]:
    """What a command that trains makes its config of, the later over the earlier.

    Args:
        name: of the algorithm.
        own: its own layer.
        file: a YAML file of the user's.
        overrides: `key=value` with dots in the key.
        changes: the same from flags of the command, by key; `None` is no change.

    Raises:
        ConfigError: a layer cannot be read, or names another algorithm.
    """
    layers = [own]
    if file is not None:
        layers.append(read_layer(file))
    layers += [override_layer(text) for text in overrides]
    layers += [(f"--{key}", {key: value}) for key, value in changes.items() if value is not None]
    found = merge(layers).get("algorithm", name)
    if found != name:
        raise ConfigError(
            f"{origin(layers, ('algorithm',))}: algorithm is {found!r}, but the command says "
            f"'{name}'; name the same one"
        )
    return [*layers, ("the command", {"algorithm": name})]


def algorithm_of(layers: Sequence[Layer], find: Callable[[str], _T]) -> tuple[Plain, str, _T]:
    """Merged layers, the algorithm that they name, and what `find` knows by that name.

    Raises:
        ConfigError: none is named, or `find` knows none of that name.
    """
    data = merge(layers)
    name = data.get("algorithm")
    if not isinstance(name, str):
        raise ConfigError(f"{origin(layers, ('algorithm',))}: algorithm is missing")
    try:
        return data, name, find(name)
    except ValueError as error:
        raise ConfigError(f"{origin(layers, ('algorithm',))}: {error}") from None


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


def known(
    layers: Sequence[Layer], prefix: tuple[Any, ...], data: Plain, allowed: Sequence[str]
) -> None:
    """Refuse a mapping with keys other than the allowed ones."""
    for key in data:
        if key not in allowed:
            refuse(layers, (*prefix, key), allowed)


def refuse(layers: Sequence[Layer], location: tuple[Any, ...], allowed: Iterable[str]) -> None:
    """Raise for an unknown key, with where it came from and the nearest valid one."""
    from algorithms.registry import nearest

    source = origin(layers, location)
    raise ConfigError(
        f"{source}: unknown key '{dotted(location)}'; {nearest(str(location[-1]), allowed)}"
    )


def validated(
    layers: Sequence[Layer], prefix: tuple[Any, ...], model: type[BaseModel], data: Any
) -> Any:
    """A model of the data, by JSON's rules: strict types, but whole numbers are numbers."""
    try:
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
    parts, message = fault["loc"], fault["msg"].removeprefix("Value error, ")
    if parts and parts[-1] in ("int", "float"):
        # Which of two kinds of number pydantic tried; no key of the user's.
        parts, message = parts[:-1], "Input should be a finite number"
    location = (*prefix, *parts)
    if fault["type"] == "extra_forbidden":
        refuse(layers, location, _fields(model, fault["loc"][:-1]))
    source = origin(layers, location) if location else "the config"
    if not location:
        raise ConfigError(f"{source}: {message}")
    message = (message[0].lower() + message[1:]).replace("input should", "it must")
    if isinstance(fault["input"], dict) and fault["type"] == "value_error":
        # A combination of keys; the message names them.
        raise ConfigError(f"{source}: {message}")
    if fault["type"] == "missing":
        raise ConfigError(f"{source}: {dotted(location)} is missing")
    raise ConfigError(f"{source}: {dotted(location)} is {_shown(fault['input'])}; {message}")


def _shown(value: Any) -> str:
    if value is None or isinstance(value, list):
        text = json.dumps(value)
    else:
        text = strict_yaml.dump(value).removesuffix("...\n").strip()
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def _fields(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Field names of the model at a location inside a model."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = model.model_fields[part].annotation
        for inner in (annotation, *get_args(annotation), *map(_first, get_args(annotation))):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return list(model.model_fields)


def _first(annotation: Any) -> Any:
    inner = get_args(annotation)
    return inner[0] if inner else None
