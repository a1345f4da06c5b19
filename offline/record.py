"""`python -m offline.record TARGET...`: play sessions into a log."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import INTERRUPTED, fail, mistakes

if TYPE_CHECKING:
    from algorithms.environment import World
    from offline.playing import Destination, Target

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="RUN|BASELINE...", help="Run folders, policy folders or baselines."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the log; a new one.")],
    users: Annotated[int, typer.Option(help="Sessions of each policy, one a user.")] = 2000,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="env.KEY=VALUE", help="Change the world."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="torch, or google for Google's own code.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Probability of a random item; else as trained.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of the softmax over log-weights; else as trained.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the users' luck and the policies' draws.")] = 0,
    workers: Annotated[int, typer.Option(help="Ray workers that play; 0: this process.")] = 0,
    format: Annotated[str, typer.Option(help="json (lines) or parquet.")] = "json",
    key_file: Annotated[
        Path | None, typer.Option(help="Secret to hash ids with; or set RECSIM_LOG_KEY.")
    ] = None,
) -> None:
    """Record sessions with exact propensities; several policies become arms of one log."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from algorithms.evaluate import check_numbers

        check_numbers(users, seed, workers)
        chosen, world = prepare(targets, backend, overrides or [], epsilon, temperature)
        to = destination(out, world, format, key_file)
        record(chosen, users, world, seed, to, workers)


def prepare(
    names: list[str],
    backend: str | None,
    overrides: list[str],
    epsilon: float | None,
    temperature: float | None,
) -> tuple[list[Target], World]:
    """Policies to record, and the world that they are played in, with its history.

    The world is that of the first run's training, or interest evolution, with overrides;
    so is the history, or the world's own where all are baselines.

    Raises:
        ValueError: what is named is no policy, or the policies do not fit together.
    """
    from algorithms.evaluate import load
    from algorithms.evaluate import prepare as world_for
    from algorithms.evaluation import check_fit
    from algorithms.policy import baseline
    from envs.registry import make_simulator
    from offline.playing import Target
    from offline.recording import Acting

    arms = _arms(names)
    loaded = {name: load(name) for name in names}
    runs = {name: policy for name, policy in loaded.items() if policy is not None}
    _, world = world_for(next(iter(runs), names[0]), backend, overrides)
    for name, policy in runs.items():
        check_fit(policy, make_simulator(num_users=1, **{**world, "history": []}))
        world = {**world, "history": world.get("history", policy.history.to_json())}
        if policy.history.to_json() != world["history"]:
            raise ValueError(
                f"'{name}' remembers other things of a session than '{next(iter(runs))}', and a "
                "log has one history; record them into two logs"
            )
    simulator = make_simulator(num_users=1, **world)
    world = {**world, "history": simulator.history.to_json()}
    found = []
    for name, trained in loaded.items():
        policy = trained or baseline(name, simulator.spec, simulator.history, simulator.slate_size)
        found.append(Target(policy, Acting(policy.algorithm, str(policy.version), arms[name])))
    _explore(found, epsilon, temperature)
    return found, world


def _arms(names: list[str]) -> dict[str, str]:
    """Arms by the names of policies; a single one has none."""
    if len(names) == 1:
        return {names[0]: ""}
    owners: dict[str, str] = {}
    for name in names:
        arm = Path(name).name
        if arm in owners:
            raise ValueError(
                f"'{owners[arm]}' and '{name}' would both be arm '{arm}' of the log; name each "
                "policy once, in folders with names of their own, or record them into two logs"
            )
        owners[arm] = name
    return {name: arm for arm, name in owners.items()}


def _explore(targets: list[Target], epsilon: float | None, temperature: float | None) -> None:
    """Let policies explore otherwise than in training, but for those with a way of their own."""
    import torch

    from algorithms.core.agent import Exploration
    from algorithms.core.slates import uniform

    if epsilon is None and temperature is None:
        return
    free = [t.policy for t in targets if t.policy.agent.fixed_exploration is None]
    if not free:
        raise ValueError(
            f"'{targets[0].acting.policy}' always explores in its own way; leave --epsilon and "
            "--temperature out"
        )
    for policy in free:
        chosen = Exploration(
            policy.exploration.epsilon if epsilon is None else epsilon,
            policy.exploration.temperature if temperature is None else temperature,
        )
        # Refuses what is no probability or no temperature.
        replace(uniform(torch.ones((1, 1), dtype=torch.bool), 1), **asdict(chosen))
        policy.exploration = chosen


def destination(out: Path, world: World, format: str, key_file: Path | None) -> Destination:
    """A new folder to write to.

    Raises:
        ValueError: it holds something, cannot be written, or the world has no slates.
    """
    from offline.log import Pseudonyms
    from offline.log.write import new_log
    from offline.playing import Destination
    from offline.recording import header_of

    pseudonyms = Pseudonyms.find(key_file)
    header = header_of(world)
    if pseudonyms is not None:
        header = replace(header, pseudonyms=pseudonyms.mark)
    new_log(out, header, format)
    return Destination(out.resolve(), header, format, pseudonyms)


def record(
    targets: list[Target], users: int, world: World, seed: int, to: Destination, workers: int
) -> None:
    """Play everything, and say what came of it; the last line is for scripts."""
    import numpy as np

    from algorithms.cluster import quiet, ray_running
    from algorithms.evaluation import Estimate
    from offline.playing import play_all, tasks_of

    tasks = tasks_of(len(targets), users)
    returns: list[list[Any]] = [[] for _ in targets]
    rows = 0
    quiet()
    try:
        with ray_running(workers) if workers else nullcontext():
            for task, played in play_all(tasks, targets, world, seed, to, workers):
                returns[task.target].append(played.returns)
                rows += played.rows
                _progress(sum(len(part) for parts in returns for part in parts), users, targets)
    except KeyboardInterrupt:
        fail(f"Stopped; the {rows:,} rows in {to.folder} are whole sessions", INTERRUPTED)
    for target, parts in zip(targets, returns, strict=True):
        found = Estimate.of(np.concatenate(parts))
        name = target.acting.arm or target.acting.policy
        print(f"{name}: return {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]")
    print(f"{to.folder}: {len(targets) * users} sessions, {rows} rows")


def _progress(done: int, users: int, targets: list[Target]) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == users * len(targets) else ""
        print(f"\r{done:,} of {users * len(targets):,} sessions", end=end, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(app())
