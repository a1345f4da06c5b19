"""Benchmarks of the endpoint: servers and clients on one machine, over real HTTP."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.core import Benchmark


def _found() -> tuple[Benchmark, ...]:
    """Those of every module here that has some; a new one needs no entry."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(each for module in modules for each in getattr(module, "BENCHMARKS", ()))


BENCHMARKS = _found()
