"""`python -m benchmarks.offline_logs mixed --out DIR`: a log for offline learners."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import mistakes

if TYPE_CHECKING:
    from algorithms.evaluation import Estimate
    from algorithms.policy import Policy

ROWS, LOW, HIGH = 128_000, 235.0, 240.0
"""Of the mixed log, and between what the better half's policy must be worth."""

_LIMIT = 1_000_000
_QUICK_USERS = 250
_SHARD_USERS = 20  # few, so that both halves come out alike
_USERS, _SEED = 2000, 3_000_003
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Make a log that offline learners are measured on."""


@app.command()
def mixed(
    out: Annotated[Path, typer.Option(help="Folder of the log; a new one.")],
    rows: Annotated[int, typer.Option(help="How many, about; half of each policy.")] = ROWS,
    format: Annotated[str, typer.Option(help="json (lines) or parquet.")] = "json",
    seed: Annotated[int, typer.Option(help="Of training, users and their luck.")] = 0,
    algorithm: Annotated[
        str, typer.Option(help="ppo, which draws its slates, or slateq, which never explores.")
    ] = "ppo",
) -> None:
    """Interest evolution: half random slates, half those of a policy worth 235 to 240."""
    with mistakes():
        print(json.dumps(make_mixed(out, rows, format, seed, algorithm)))


def make_mixed(
    out: Path,
    rows: int = ROWS,
    format: str = "json",
    seed: int = 0,
    algorithm: str = "ppo",
) -> dict[str, Any]:
    """Train until what is shown is worth 235 to 240, and record that and random slates.

    Returns:
        What the policy is worth as it acts and what its best slates are, rows of each
        half, and the mean return of the log's sessions.

    Raises:
        ValueError: the folder is not new, or no training came to lie between.
    """
    from offline.playing import Task, play_all
    from offline.record import destination, prepare

    with TemporaryDirectory() as space:
        run, worth = half_trained(Path(space), algorithm, seed)
        chosen, world = prepare([str(run), "random"], None, [], None, None)
        to = destination(out, world, format, None)
        found: dict[str, Any] = {**worth, "rows": {}}
        number, returns = 0, list[float]()
        for target, name in enumerate((algorithm, "random")):
            count = 0
            while count < rows // 2:
                task = Task(number, target, number * _SHARD_USERS, _SHARD_USERS)
                _, played = next(iter(play_all([task], chosen, world, seed, to)))
                count, number = count + played.rows, number + 1
                returns += played.returns.tolist()
            found["rows"][name] = count
    return {**found, "behaviour_value": sum(returns) / len(returns), "log": str(out)}


def half_trained(space: Path, algorithm: str, seed: int) -> tuple[Path, dict[str, float]]:
    """A policy folder, and what that policy is worth.

    Trained with a learning rate that does not fall, and looked at after every few
    thousand steps; with another seed where it leaps over the goal.

    Raises:
        ValueError: it did so with ten seeds.
    """
    from algorithms.accounting import Clock
    from algorithms.cluster import quiet, ray_running
    from algorithms.config import load_config
    from algorithms.evaluation import evaluate_policy
    from algorithms.run import create_run

    quiet()
    from algorithms.training import Training

    overrides = [
        f"train.env_steps={_LIMIT}",
        "train.users=128",
        f"{algorithm}.lr_schedule=constant",
    ]
    for attempt in range(seed, seed + 10):
        config = load_config(algorithm, None, overrides, {"seed": attempt})

        def worth(policy: Policy, users: int, explore: bool, world: Any = config.world) -> Estimate:
            return evaluate_policy(policy, world, users, _SEED, explore=explore).mean_return

        with ray_running(0):
            training = Training(create_run(config, space / str(attempt)), None, Clock())
            while training.algo.env_steps < _LIMIT:
                training.algo.train()
                policy = training.policy()
                quick = worth(policy, _QUICK_USERS, True)
                print(f"{training.algo.env_steps:,} steps: {quick.mean:.1f}", file=sys.stderr)
                if quick.high < LOW or quick.low > HIGH:
                    continue
                found = worth(policy, _USERS, True).mean
                if LOW <= found <= HIGH:
                    best = worth(policy, _USERS, False).mean
                    policy.save(space / algorithm)
                    return space / algorithm, {"policy_value": found, "best_slates_value": best}
    raise ValueError(f"no policy worth {LOW:g} to {HIGH:g} came about; try another --seed")


if __name__ == "__main__":
    app()
