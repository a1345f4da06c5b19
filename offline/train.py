"""`python -m offline.train NAME --data DIR`: learn a policy from a log, and keep a run folder."""

from __future__ import annotations

import logging
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from algorithms.run import Checkpoint
    from offline.learning.run import OfflineRun

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    name: Annotated[str | None, typer.Argument(help="The learner; see --list.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of a log, a file, or a pattern.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file to lay over the learner's own.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in train.epochs=5."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; under runs/ if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run folder.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Begin with the weights of this run's policy.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Ray learners that share each minibatch; 0: this process.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and shuffles.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Name every offline learner.")] = False,
) -> None:
    """Learn from a log; the last line names the run folder and what the policy is worth."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if show:
        print_list()
        return
    with mistakes():
        flags: dict[str, Any] = {"--data": data, "--config": config, "--set": overrides}
        flags |= {"--out": out, "--init": init, "--workers": workers, "--seed": seed}
        if resume is not None:
            run, checkpoint = reopen(resume, name, flags)
            if (result := run.result()) is not None:
                print(last_line(run, result))
                return
            train(run, checkpoint)
            return
        changes: dict[str, Any] = {"seed": seed, "workers": workers}
        changes["data"] = data or None
        changes["init"] = None if init is None else str(init)
        train(begin(name, config, overrides or [], out, changes), None)


def print_list() -> None:
    """A line for every learner."""
    from offline.learning.registry import learner, learner_names

    for name in learner_names():
        print(f"{name:<16}{learner(name).summary}")


def begin(
    name: str | None, file: Path | None, overrides: list[str], out: Path | None, changes: Any
) -> OfflineRun:
    """A new run folder, everything checked that can be before the log is read."""
    if name is None:
        raise ValueError("name an offline learner to train; --list shows them all")
    from offline.learning.config import load_config
    from offline.learning.run import create_run
    from offline.learning.source import check, open_source

    found = load_config(name, file, overrides, changes)
    source = open_source(found)
    check(found, source)
    return create_run(found, None if source.world is None else str(source.world["name"]), out)


def reopen(folder: Path, name: str | None, flags: dict[str, Any]) -> tuple[OfflineRun, Checkpoint]:
    """An existing run folder and where to continue."""
    from offline.learning.run import read_run

    refused = [flag for flag, value in flags.items() if value not in (None, [])]
    if refused:
        raise ValueError(
            f"--resume continues a run as it began, so {refused[0]} has no place; "
            "start a new run to change it"
        )
    run = read_run(folder)
    if name is not None and name != run.config.algorithm:
        raise ValueError(f"{folder} is a run of '{run.config.algorithm}', not of '{name}'")
    return run, run.latest()


def train(run: OfflineRun, checkpoint: Checkpoint | None) -> None:
    """Learn to the end of the budget, evaluate, and say what came out."""
    from algorithms.cluster import WorkersLost, quiet, ray_running

    quiet()
    from algorithms.accounting import Clock
    from algorithms.training import Interrupted
    from offline.learning.steps import LearningError

    spent = {} if checkpoint is None else checkpoint.state["cpu_seconds"]
    clock = Clock({"read": 0.0, **spent})
    try:
        with ray_running(run.config.workers) if run.config.workers else nullcontext():
            result = _train(run, checkpoint, clock)
    except (LearningError, WorkersLost) as error:
        fail(f"{sentence(error)}; {saved(run)}", FAILED)
    except ValueError:
        forget_unless_saved(run)
        raise
    except (Interrupted, KeyboardInterrupt):
        fail(f"Stopped; {saved(run)}", INTERRUPTED)
    except OSError as error:
        reason = error.strerror or sentence(error)
        fail(f"cannot go on writing to {run.path}: {reason}; {saved(run)}", FAILED)
    else:
        print(last_line(run, result))


def _train(run: OfflineRun, checkpoint: Checkpoint | None, clock: Any) -> dict[str, Any]:
    from algorithms.progress import TrainingProgress
    from algorithms.training import Signals
    from offline.learning.loop import OfflineTraining
    from offline.learning.result import finish

    training = OfflineTraining(run, checkpoint, clock)
    with Signals() as signals:
        with TrainingProgress(
            training.budget,
            training.learner.updates,
            unit="updates",
            label="held-out loss",
            digits=4,
        ) as progress:
            training.loop(progress, signals)
        return finish(training, signals)


def forget_unless_saved(run: OfflineRun) -> bool:
    """Remove the folder of a run that never got going: it would be in the next one's way."""
    if any(run.checkpoints.glob("step-*")):
        return False
    shutil.rmtree(run.path, ignore_errors=True)
    return True


def saved(run: OfflineRun) -> str:
    """What is left of a run that has stopped, and how to go on."""
    from algorithms.run import RunError

    if forget_unless_saved(run):
        return f"nothing had been saved, and {run.path} is removed; start again"
    try:
        updates = run.latest().state["updates"]
    except RunError as error:
        return sentence(error)
    return (
        f"{updates:,} updates are saved, continue with: python -m offline.train --resume {run.path}"
    )


def last_line(run: OfflineRun, result: dict[str, Any]) -> str:
    """What a script reads: the folder, and the return or else the loss on held-out sessions."""
    if result["return_mean"] is None:
        loss = result["held_out"].get("loss")
        if loss is None:
            return f"{run.path}: {result['updates']} updates, nothing held out"
        return f"{run.path}: held-out loss {loss:.4f} over {result['held_out_rows']} rows"
    low, high = result["return_ci95"]
    return (
        f"{run.path}: return {result['return_mean']:.1f} [{low:.1f}, {high:.1f}] "
        f"over {result['eval_users']} users"
    )


if __name__ == "__main__":
    sys.exit(app())
