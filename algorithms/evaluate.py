"""`python -m algorithms.evaluate RUN|BASELINE`: play fresh sessions and report."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import mistakes

if TYPE_CHECKING:
    from algorithms.environment import World
    from algorithms.evaluation import Estimate, EvaluationResult
    from algorithms.policy import Policy

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

DEFAULT_SEED = 1_000_003
"""The seed of the evaluation that ends a training run."""


@app.command()
def main(
    target: Annotated[
        str, typer.Argument(metavar="RUN|BASELINE", help="Run folder, policy folder or baseline.")
    ],
    backend: Annotated[
        str | None, typer.Option(help="torch, or google for Google's own code.")
    ] = None,
    users: Annotated[int, typer.Option(help="Fresh users, one session each.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the users' luck.")] = DEFAULT_SEED,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="env.KEY=VALUE", help="Change the world."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another run or baseline, for the same users.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that play.")] = 0,
    explore: Annotated[
        bool, typer.Option("--explore", help="Sample as in training; else the best slates.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Report return, click rate, session length, watch time and quality, with intervals."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        check_numbers(users, seed, workers)
        policy, world = prepare(target, backend, overrides or [])
        other = None if against is None else load_for(against, world)
        report = evaluate(policy, other, world, users, seed, explore, workers)
    report = {"policy": target, **({"against": against} if against else {}), **report}
    print(json.dumps(report, allow_nan=False) if as_json else as_text(report))


def check_numbers(users: int, seed: int, workers: int) -> None:
    """Refuse sizes that make no sense."""
    for flag, value, least in (
        ("--users", users, 1),
        ("--seed", seed, 0),
        ("--workers", workers, 0),
    ):
        if value < least:
            raise ValueError(f"{flag} is {value}; it must be at least {least}")
    if seed >= 2**63:
        raise ValueError(f"--seed is {seed}; it must be below 2^63")


def prepare(target: str, backend: str | None, overrides: list[str]) -> tuple[Policy, World]:
    """The policy, and the world that it is played in.

    That is the world of its training for a run, else interest evolution, with overrides.
    """
    from algorithms.environment import BUILD_ERRORS, on_backend, world_of
    from algorithms.layers import override_layer
    from envs.registry import BACKENDS, make_simulator

    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend is '{backend}'; allowed are: {', '.join(BACKENDS)}")
    policy = load(target)
    trained: dict[str, Any] = {"name": "interest_evolution"}
    if policy is not None:
        trained = {k: v for k, v in policy.info.get("world", trained).items() if k != "history"}
    layers = [(target, {"env": trained}), *map(override_layer, overrides)]
    world = world_of(layers)
    world, warning = on_backend(world, backend or str(world["backend"]))
    if warning is not None:
        raise ValueError(f"{warning[0].lower()}{warning[1:]}; use --backend torch")
    try:
        make_simulator(num_users=1, **world)
    except BUILD_ERRORS as error:
        raise ValueError(str(error)) from None
    return policy or load_for(target, world), world


def load(target: str) -> Policy | None:
    """The policy of a run folder or a policy folder; `None` for a baseline."""
    from algorithms.policy import Policy
    from algorithms.registry import baseline_names, nearest
    from algorithms.run import RunError, about

    if target in baseline_names():
        return None
    path = Path(target)
    if not path.exists():
        raise ValueError(
            f"'{target}' is neither a run folder nor a baseline; "
            f"{nearest(target, baseline_names())}"
        )
    if (path / "run.json").exists() and about(path) and not (path / "policy").exists():
        raise RunError(
            f"{path} has no policy yet, because its training has not ended; continue it with "
            f"--resume, or evaluate one of its checkpoints: {path / 'checkpoints'}"
        )
    return Policy.load(path)


def load_for(target: str, world: World) -> Policy:
    """The policy of a target, for a world that has been chosen."""
    from algorithms.policy import baseline
    from envs.registry import make_simulator

    found = load(target)
    if found is not None:
        return found
    simulator = make_simulator(num_users=1, **{**world, "history": []})
    return baseline(target, simulator.spec, simulator.history, simulator.slate_size)


def evaluate(
    policy: Policy,
    other: Policy | None,
    world: World,
    users: int,
    seed: int,
    explore: bool,
    workers: int,
) -> dict[str, Any]:
    """Play one policy, or two with the same users; plain data."""
    from algorithms.evaluation import evaluate_policy

    def play(which: Policy) -> EvaluationResult:
        return evaluate_policy(which, world, users, seed, explore=explore, workers=workers)

    found = play(policy)
    report: dict[str, Any] = {
        "environment": world["name"],
        "backend": found.backend,
        "users": users,
        "seed": seed,
        "acting": _acting(policy, explore),
        **_plain(found.summary()),
    }
    if other is not None:
        compared = play(other)
        report["other"] = _plain(compared.summary())
        report["difference"] = _plain(found.minus(compared))
    return report


def _acting(policy: Policy, explore: bool) -> str:
    exploration = policy.acting(explore)
    if not exploration.epsilon and not exploration.temperature:
        return "greedy"
    return f"sampled at epsilon {exploration.epsilon:g}, temperature {exploration.temperature:g}"


def _plain(summary: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in summary.items()}


def as_text(report: dict[str, Any]) -> str:
    """A line for every number."""
    head = (
        f"{report['policy']} on {report['environment']} ({report['backend']}), "
        f"{report['users']:,} users, seed {report['seed']}, {report['acting']}"
    )
    lines = [head, *_lines(report)]
    if "against" in report:
        lines += [report["against"], *_lines(report["other"])]
        lines += [f"{report['policy']} minus {report['against']}", *_lines(report["difference"])]
    return "\n".join(lines)


def _lines(summary: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in summary.items():
        if not isinstance(value, dict) or "ci95" not in value:
            continue
        mean, interval = value["mean"], value["ci95"]
        shown = "none" if mean is None else f"{mean:.4g}" if abs(mean) < 10 else f"{mean:.2f}"
        if interval is not None:
            shown += f"  [{interval[0]:.4g}, {interval[1]:.4g}]"
        lines.append(f"  {name.replace('_', ' '):<18}{shown}")
    return lines


if __name__ == "__main__":
    sys.exit(app())
