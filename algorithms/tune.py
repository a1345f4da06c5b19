"""`python -m algorithms.tune NAME`: search for better settings, and keep all trials."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from algorithms.tuning.plan import Plan
    from algorithms.tuning.trials import Trials

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

TRIALS = 20


@app.command()
def main(
    name: Annotated[
        str | None, typer.Argument(help="The algorithm; see `algorithms.train --list`.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help=f"How many in all, the first of them the config: {TRIALS}.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Trials side by side, each in a process.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file to lay over the algorithm's own; may have a tune section."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in tune.users=500."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; under runs/tune/ if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the search in this folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search and of every trial.")] = None,
) -> None:
    """Tune an algorithm; the last line names the best config and what it returns."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        for flag, value in (("--trials", trials), ("--workers", workers)):
            if value is not None and value < 1:
                raise ValueError(f"{flag} is {value}; it must be at least 1")
        if resume is not None:
            given = {"--config": config, "--set": overrides, "--out": out, "--seed": seed}
            refused = [flag for flag, value in given.items() if value not in (None, [])]
            if refused:
                raise ValueError(
                    f"--resume continues a search as it began, so {refused[0]} has no place; "
                    "start a new search to change it"
                )
            folder = resume
            plan, total = reopen(folder, name, trials)
        else:
            plan, total = begin(name, config, overrides or [], seed), trials or TRIALS
            from algorithms.tuning.folder import create_search

            folder = create_search(plan, total, out)
        tune(plan, folder, total, workers)


def begin(name: str | None, file: Path | None, overrides: list[str], seed: int | None) -> Plan:
    """The plan of a new search, everything checked."""
    if name is None:
        raise ValueError("name an algorithm to tune; `algorithms.train --list` shows them all")
    from algorithms.train import check_final_evaluation
    from algorithms.tuning.plan import load_plan

    plan = load_plan(name, file, overrides, {"seed": seed})
    check_final_evaluation(plan.config)
    return plan


def reopen(folder: Path, name: str | None, trials: int | None) -> tuple[Plan, int]:
    """The plan of an existing search, and how many trials there shall be now."""
    from algorithms.tuning.folder import read_search, set_trials

    plan, total = read_search(folder)
    if name is not None and name != plan.config.algorithm:
        raise ValueError(f"{folder} is a search for '{plan.config.algorithm}', not for '{name}'")
    if trials is not None and trials != total:
        if trials < total:
            raise ValueError(
                f"--trials is {trials}, but {folder} is a search of {total} trials; give as "
                "many or more"
            )
        try:
            set_trials(folder, plan.config.algorithm, trials)
        except OSError as error:
            raise ValueError(f"cannot write to {folder}: {error.strerror}; mend that") from None
    return plan, trials or total


def tune(plan: Plan, folder: Path, total: int, workers: int) -> None:
    """Play the trials that are missing, and say what came out."""
    from algorithms.cluster import quiet

    quiet()
    from algorithms.training import Interrupted
    from algorithms.tuning.folder import alone
    from algorithms.tuning.trials import Trials

    with alone(folder):
        trials = Trials.load(folder)
        try:
            run(plan, trials, total, workers)
            print(conclude(plan, trials))
        except (Interrupted, KeyboardInterrupt):
            done = len(trials.done)
            fail(
                f"Stopped; {done} of {total} trials are done, continue with: "
                f"python -m algorithms.tune --resume {folder}",
                INTERRUPTED,
            )
        except OSError as error:
            fail(
                f"cannot go on writing to {folder}: {error.strerror or sentence(error)}; mend "
                f"that and continue with: python -m algorithms.tune --resume {folder}",
                FAILED,
            )


def run(plan: Plan, trials: Trials, total: int, workers: int) -> None:
    """Play what is missing, on a Ray of our own."""
    left = total - len(trials.done)
    if left <= 0:
        return
    from algorithms.cluster import ray_running
    from algorithms.training import Signals
    from algorithms.tuning.progress import TuningProgress
    from algorithms.tuning.search import search

    workers = min(workers, left)
    with ray_running(workers), Signals() as signals:
        with TuningProgress(total, len(trials.done), plan.config.train.env_steps) as progress:
            search(plan, trials, total, workers, signals, progress)
        signals.check()


def conclude(plan: Plan, trials: Trials) -> str:
    """Judge the best, write everything, and the line that a script reads."""
    from algorithms.training import Signals
    from algorithms.tuning.report import BEST, write
    from algorithms.tuning.trials import best_of

    best = best_of(trials.numbered)
    if best is None:
        reasons = list(dict.fromkeys(trial.message for trial in trials.done))
        fail(f"none of {len(trials.done)} trials finished; the first: {reasons[0]}", FAILED)
        raise AssertionError("fail raises")
    with Signals() as signals:
        found = write(plan, trials, best, signals)
    return last_line(trials.folder / BEST, found)


def last_line(path: Path, found: dict[str, Any]) -> str:
    """What a script reads: the best config and what it returns."""
    low, high = found["return_ci95"]
    line = (
        f"{path}: return {found['return_mean']:.1f} [{low:.1f}, {high:.1f}] "
        f"over {found['eval_users']} users"
    )
    if found["start"] is not None:
        gain = found["start"]["gain"]
        before = found["start"]["return"]["mean"]
        line += f", {gain['mean']:+.1f} [{gain['ci95'][0]:+.1f}, {gain['ci95'][1]:+.1f}] over "
        line += f"the start's {before:.1f}"
    return line


if __name__ == "__main__":
    app()
