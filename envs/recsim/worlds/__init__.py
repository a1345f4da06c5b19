"""Google's worlds with their faults put right, a module each.

A module holds `composition(parameters, **options)`: `parameters` are arguments
of the torch world of the same name, which checks them and knows the defaults.
The modules import recsim, so nothing imports them before they are needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from envs.simulator import World


def with_defaults(world: type[World], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a world: those given, and the defaults of the others."""
    bound = inspect.signature(world).bind(**parameters)
    bound.apply_defaults()
    return dict(bound.arguments)
