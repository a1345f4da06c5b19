"""`python -m algorithms.train NAME`: train an algorithm and keep a run folder."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from algorithms.config import RunConfig
    from algorithms.run import Checkpoint, Run

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    name: Annotated[str | None, typer.Argument(help="The algorithm; see --list.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file to lay over the algorithm's own.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in train.users=512."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; under runs/ if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run folder.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that sample; 0: this one.")] = None,
    address: Annotated[
        str | None, typer.Option(help="host:port of a running Ray cluster to join.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Name every algorithm and environment.")
    ] = False,
) -> None:
    """Train an algorithm; the last line names the run folder and the return."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if show:
        print_list()
        return
    with mistakes():
        if address is not None:
            # First, because importing torch takes long on a busy machine.
            from algorithms.joining import check_address

            check_address(address)
        checkpoint: Checkpoint | None = None
        if resume is not None:
            given = {"--config": config, "--set": overrides, "--out": out, "--seed": seed}
            given["--workers"] = workers
            refused = [flag for flag, value in given.items() if value not in (None, [])]
            if refused:
                raise ValueError(
                    f"--resume continues a run as it began, so {refused[0]} has no place; "
                    "start a new run to change it"
                )
            run, checkpoint = reopen(resume, name)
        else:
            run = begin(name, config, overrides or [], out, workers, seed)
        if address is not None and not run.config.workers:
            logging.getLogger(__name__).warning(
                "workers is 0, so nothing runs on the cluster; add --workers N."
            )
        if checkpoint is not None and (result := run.result()) is not None:
            print(last_line(run, result))
            return
        train(run, checkpoint, address)


def print_list() -> None:
    """A line for every algorithm and every environment."""
    from algorithms.registry import agent_class, algorithm, algorithm_names, baseline_names
    from envs.recsim import google_world_names
    from envs.registry import world_class, world_names

    print("Algorithms:")
    for name in algorithm_names():
        print(f"  {name:<32}{algorithm(name).summary}")
    print("Baselines (for algorithms.evaluate and algorithms.compare):")
    for name in baseline_names():
        print(f"  {name:<32}{_first_line(agent_class(name))}")
    print("Environments:")
    for name in world_names():
        backends = "torch, google" if name in google_world_names() else "torch"
        print(f"  {name:<32}{_first_line(world_class(name))} [{backends}]")
    print(f"  {'CartPole-v1, ...':<32}Any id of Gymnasium's registry. [torch]")
    print(f"  {'module:Class':<32}Your own RecSim user model and documents. [google]")


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def begin(
    name: str | None,
    file: Path | None,
    overrides: list[str],
    out: Path | None,
    workers: int | None,
    seed: int | None,
) -> Run:
    """A new run folder, everything checked."""
    if name is None:
        raise ValueError("name an algorithm to train; --list shows them all")
    from algorithms.config import load_config
    from algorithms.run import create_run

    changes = {"workers": workers, "seed": seed}
    found = load_config(name, file, overrides, changes)
    check_final_evaluation(found)
    return create_run(found, out)


def check_final_evaluation(config: RunConfig) -> None:
    """Find out now, not after training, whether the last evaluation can be played."""
    from algorithms.environment import on_backend

    _, warning = on_backend(config.world, config.evaluate.backend)
    if warning is not None:
        logging.getLogger(__name__).warning("%s.", warning)


def reopen(folder: Path, name: str | None) -> tuple[Run, Checkpoint]:
    """An existing run folder and where to continue."""
    from algorithms.run import read_run

    run = read_run(folder)
    if name is not None and name != run.config.algorithm:
        raise ValueError(f"{folder} is a run of '{run.config.algorithm}', not of '{name}'")
    return run, run.latest()


def train(run: Run, checkpoint: Checkpoint | None, address: str | None) -> None:
    """Train to the end of the budget, evaluate, and say what came out."""
    from algorithms.cluster import WorkersLost, quiet, ray_running

    quiet()
    from algorithms.accounting import Clock
    from algorithms.training import Interrupted

    state: dict[str, Any] = {} if checkpoint is None else checkpoint.state
    clock = Clock(state.get("cpu_seconds"))

    def abandon() -> None:
        if checkpoint is None:
            shutil.rmtree(run.path, ignore_errors=True)

    def saved_any() -> bool:
        return any(run.checkpoints.iterdir())

    config = run.config
    try:
        with ray_running(config.workers, address, config.env.name, abandon):
            result = _train(run, checkpoint, clock)
    except ValueError:
        # The folder of a run that never got going would be in the way of the next one.
        if not saved_any():
            abandon()
        raise
    except WorkersLost as error:
        if not saved_any():
            abandon()
            fail(sentence(error), FAILED)
        fail(f"{sentence(error)}; {saved(run)}", FAILED)
        return
    except (Interrupted, KeyboardInterrupt):
        fail(f"Stopped; {saved(run)}", INTERRUPTED)
        return
    except OSError as error:
        fail(
            f"cannot go on writing to {run.path}: {error.strerror or sentence(error)}; "
            f"{saved(run)}",
            FAILED,
        )
        return
    print(last_line(run, result))


def _train(run: Run, checkpoint: Checkpoint | None, clock: Any) -> dict[str, Any]:
    from algorithms.progress import TrainingProgress
    from algorithms.training import Signals, Training

    training = Training(run, checkpoint, clock)
    done = 0 if checkpoint is None else checkpoint.state["env_steps"]
    with Signals() as signals:
        with TrainingProgress(run.config.train.env_steps, done) as progress:
            training.loop(progress, signals)
        users = run.config.evaluate.users
        print(f"Evaluating with {users:,} fresh users.", file=sys.stderr, flush=True)
        return training.finish(signals)


def saved(run: Run) -> str:
    """What is left of a run that has stopped, and how to go on."""
    from algorithms.run import RunError

    try:
        steps = run.latest().state["env_steps"]
    except RunError:
        return f"{run.path} holds no checkpoint to continue from"
    return (
        f"{steps:,} steps are saved, continue with: python -m algorithms.train --resume {run.path}"
    )


def last_line(run: Run, result: dict[str, Any]) -> str:
    """What a script reads: the folder and the return."""
    low, high = result["return_ci95"]
    return (
        f"{run.path}: return {result['return_mean']:.1f} [{low:.1f}, {high:.1f}] "
        f"over {result['eval_users']} users"
    )


if __name__ == "__main__":
    app()
