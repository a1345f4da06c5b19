"""Forks for each command that comes as a line of JSON, and answers with its status."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any, NoReturn

IMPORTED = (
    "matplotlib.pyplot",
    "algorithms.training",
    "algorithms.evaluation",
    "algorithms.slateq",
    "algorithms.registry",
    "offline.log",
    "offline.judge.judging",
    "envs.registry",
)


def play(job: dict[str, Any]) -> NoReturn:
    """Be `python -m` in the job's folder; never returns."""
    output = os.open(job["output"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.alarm(job["seconds"])
    os.chdir(job["folder"])
    sys.path.insert(0, job["folder"])
    module, *sys.argv[1:] = job["arguments"]
    sys.modules.pop(module, None)
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.environ["MPLBACKEND"] = "agg"
    for name in IMPORTED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            play(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
