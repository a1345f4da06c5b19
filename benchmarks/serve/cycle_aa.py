"""`python -m benchmarks.serve.cycle_aa`: how often is a candidate deployed that is no better?

50 tries each of three kinds, with the shipped judgement and decisions, on logs that are
played in this process:

- `same`: the live policy itself, judged by its own sessions. Never to be deployed.
- `judged`: another policy whose true value is no higher, judged by the live policy's
  sessions, where these overlap enough.
- `canary`: the same on trial, judged by the sessions of both.

The lower end of a 95 % interval is above the truth in 2.5 % of all tries.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from algorithms.core.agent import Exploration
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from algorithms.slateq import SlateQAgent, SlateQSettings
from envs.registry import make_simulator
from offline.log import open_log
from offline.playing import Destination, Target, play, tasks_of
from offline.recording import Acting, header_of
from serve.cycling.comparing import Sample, Samples, compare
from serve.cycling.deciding import decide, decide_canary, level_of
from serve.cycling.judging import held_out_of, judged
from serve.cycling.settings import load_settings

WORLD: dict[str, Any] = {"name": "boredom", "backend": "torch", "time_budget": 5}
TRUTH_USERS, POLICIES = 100_000, 6
EXPLORATION = Exploration(0.7, 1.0)
"""So much that logs of a policy overlap with others of five slates a session."""

LIVE = "1-live"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    tries: Annotated[int, typer.Option(help="Of each kind.")] = 50,
    sessions: Annotated[int, typer.Option(help="Of a log.")] = 4000,
    truth: Annotated[int, typer.Option(help="Users that decide which is better.")] = TRUTH_USERS,
) -> None:
    """Print a line of JSON."""
    settings = load_settings()
    live, other, values = pair(truth)
    fates: dict[str, list[str]] = {"same": [], "judged": [], "canary": []}
    effective, share = [], settings.canary.share
    for number in range(tries):
        with tempfile.TemporaryDirectory() as space:
            returns = record(live, Path(space), sessions, 1000 + number)
            log = held_out_of(open_log(Path(space)), 0.999, LIVE)
            for name, candidate in (("same", live), ("judged", other)):
                found = judged(log, candidate, live, settings.judge.confidence)
                fates[name].append(decide(sessions, found, [], settings.judge, share).fate)
                effective += [found.effective] * (name == "judged")
        users = evaluate_policy(other, WORLD, sessions, 100_000 + number, explore=True).returns
        once = Samples(*(Sample(each, np.ones_like(each)) for each in (users, returns)))
        trial = compare(once, level_of(settings.canary, settings.judge))
        fates["canary"].append(decide_canary(trial, 1, settings.canary, settings.judge).fate)
    counts = {
        kind: {fate: each.count(fate) for fate in sorted(set(each))} for kind, each in fates.items()
    }
    print(
        json.dumps(
            {
                "world": WORLD,
                "tries": tries,
                "sessions": sessions,
                "live_value": values[0],
                "candidate_value": values[1],
                "effective": [min(effective), float(np.median(effective))],
                **counts,
            }
        )
    )


def pair(users: int) -> tuple[Policy, Policy, tuple[float, float]]:
    """The two nearest in value of several policies, the better one first; their values."""
    found = [(policy, _value(policy, users)) for policy in map(_policy, range(POLICIES))]
    found.sort(key=lambda each: -each[1])
    near = min(range(len(found) - 1), key=lambda n: found[n][1] - found[n + 1][1])
    (live, high), (other, low) = found[near : near + 2]
    return live, other, (high, low)


def _policy(seed: int) -> Policy:
    """A network of its own random weights, which only softly prefers what it likes."""
    simulator = make_simulator(num_users=1, **WORLD)
    torch.manual_seed(seed)
    settings = SlateQSettings(hidden=(16,)).model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, simulator.slate_size, settings)
    return Policy(agent, exploration=EXPLORATION, reward=simulator.reward_name)


def _value(policy: Policy, users: int) -> float:
    return float(evaluate_policy(policy, WORLD, users, 7, explore=True).returns.mean())


def record(policy: Policy, folder: Path, sessions: int, seed: int) -> Any:
    """A log of a policy's sessions; returns what they earned, (sessions,)."""
    to = Destination(folder, header_of(WORLD), "parquet", None)
    target = Target(policy, Acting(policy.algorithm, LIVE, "main"))
    parts = [play(task, target, WORLD, seed, to).returns for task in tasks_of(1, sessions)]
    return np.concatenate(parts)


if __name__ == "__main__":
    app()
