"""Imports the published recsim package without what it asks for and does not need.

Its environments import `gym`, `gin.tf` (which needs TensorFlow) and, through
`recsim.simulator`, Dopamine's runner. Only the two base classes of gym, `Env`
and `spaces`, are really used, and Gymnasium has them. So stand-ins for these
four modules are put into `sys.modules` while recsim is imported, and what was
there before comes back afterwards.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import gymnasium

INSTALL = "pip install --no-deps recsim==0.2.4"
_RUNNER = "recsim.simulator.runner_lib"
_LOCK = threading.RLock()


def _stand_ins() -> dict[str, ModuleType]:
    gym = ModuleType("gym")
    gym.__path__ = []
    vars(gym).update(Env=gymnasium.Env, spaces=gymnasium.spaces)
    return {
        "gym": gym,
        "gym.spaces": gymnasium.spaces,
        "gin.tf": ModuleType("gin.tf"),
        _RUNNER: ModuleType(_RUNNER),
    }


@contextmanager
def recsim_importable() -> Iterator[None]:
    """Within this block, `import recsim` and `from gym import spaces` work.

    One thread at a time; the block may be nested.

    Raises:
        ModuleNotFoundError: recsim is not installed.
    """
    with _LOCK:
        if "recsim" not in sys.modules and importlib.util.find_spec("recsim") is None:
            raise ModuleNotFoundError(
                f"Google's recsim is not installed; install it with: {INSTALL}", name="recsim"
            )
        stand_ins = _stand_ins()
        before = {name: sys.modules.get(name) for name in stand_ins}
        sys.modules.update(stand_ins)
        try:
            yield
        finally:
            for name, module in before.items():
                if module is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = module
            _forget_runner(stand_ins[_RUNNER])


def _forget_runner(stand_in: ModuleType) -> None:
    """Take the stand-in off its package, so that the real runner can still be imported."""
    package = sys.modules.get("recsim.simulator")
    if package is not None and getattr(package, "runner_lib", None) is stand_in:
        del package.runner_lib


def load(name: str) -> Any:
    """The module called `name`, which may import recsim and gym."""
    with _LOCK:
        if name in sys.modules:
            return sys.modules[name]
        with recsim_importable():
            return importlib.import_module(name)


def load_object(address: str) -> Any:
    """The object at `module:name`; the module may import recsim and gym.

    Raises:
        ValueError: the address is no `module:name`, the module cannot be
            imported, or holds no such name.
    """
    module_name, _, name = address.partition(":")
    if not module_name or not name:
        raise ValueError(f"'{address}' is no address of a world; write it as 'module:Class'")
    here = os.getcwd()
    if not {"", here} & set(sys.path):  # commands that are no `python -m` leave it out
        sys.path.append(here)
    try:
        module = load(module_name)
    except ModuleNotFoundError as error:
        if error.name == "recsim":
            raise
        raise ValueError(
            f"cannot import '{module_name}' for the environment '{address}': {error}; "
            "it must lie in the working directory or in an installed package"
        ) from error
    except Exception as error:
        raise ValueError(
            f"cannot import '{module_name}' for the environment '{address}': "
            f"{type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        names = ", ".join(key for key in vars(module) if not key.startswith("_"))
        raise ValueError(f"'{module_name}' holds no '{name}'; it holds: {names}") from None


def unpickle(content: bytes) -> Any:
    """The inverse of `cloudpickle.dumps`, for objects of recsim in a fresh process."""
    with recsim_importable():
        importlib.import_module("recsim.simulator.environment")
        return cloudpickle.loads(content)
