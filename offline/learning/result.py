"""What an offline run came to: its policy, the return measured in the log's world, coverage."""

from __future__ import annotations

import math
import sys
from typing import Any

from algorithms.environment import World, on_backend
from algorithms.evaluation import Estimate, EvaluationResult, evaluate_policy
from algorithms.policy import Policy
from algorithms.run import versions
from algorithms.training import Stop, reference_returns, save_policy
from offline.coverage import coverage_of
from offline.learning.curves import draw
from offline.learning.loop import OfflineTraining
from offline.log import LogError

_PROCESSES = 4


def finish(training: OfflineTraining, signals: Stop) -> dict[str, Any]:
    """Export the policy, evaluate it with fresh users of the log's world, write the result."""
    run, clock = training.run, training.clock
    clock.charge("train", exact=True)
    policy = training.chosen()
    save_policy(policy, run.policy)
    signals.check()
    world = training.source.world
    found, references = None, {}
    if world is not None:
        found = _evaluate(training, policy, world, signals)
        found.save(run.evaluation)
        references = reference_returns(world, run.config.evaluate)
    logged = Estimate.of(training.feed.returns)
    if not math.isnan(logged.mean):
        references["logged"] = logged.mean
    covered = _coverage(training, policy)
    clock.charge("eval", exact=True)
    wall, peak = training.close()
    result = {
        **_figures(training, found),
        "wall_seconds": wall,
        "peak_memory_mb": peak / 2**20,
        "references": references,
        "coverage": covered,
    }
    draw(
        run.path,
        f"{run.config.algorithm}, {result['rows']:,} rows of {', '.join(run.config.data)}",
        result,
    )
    run.write_result(result)
    return result


def _evaluate(
    training: OfflineTraining, policy: Policy, world: World, signals: Stop
) -> EvaluationResult:
    plan = training.run.config.evaluate
    print(f"Evaluating with {plan.users:,} fresh users.", file=sys.stderr, flush=True)
    played, _ = on_backend(world, plan.backend)
    return evaluate_policy(
        policy,
        played,
        plan.users,
        plan.seed,
        workers=_PROCESSES if played["backend"] == "google" else 0,
        tick=signals.check,
    )


def _figures(training: OfflineTraining, found: EvaluationResult | None) -> dict[str, Any]:
    config, spent, world = training.run.config, training.clock.spent, training.source.world
    held = training.feed.held
    summary: dict[str, Any] = {}
    if found is not None:
        summary = {name: estimate.to_json() for name, estimate in found.summary().items()}
    measured = summary.get("return", {"mean": None, "ci95": None})
    return {
        "algorithm": config.algorithm,
        "environment": None if world is None else world["name"],
        "backend": None if found is None else found.backend,
        "data": list(config.data),
        "rows": training.rows,
        "rows_in_memory": training.feed.whole,
        "epochs": training.used / max(1, training.rows),
        "updates": training.learner.updates,
        "exported_updates": training.learner.updates
        if training.best is None
        else training.best["updates"],
        "return_mean": measured["mean"],
        "return_ci95": measured["ci95"],
        "eval_users": 0 if found is None else len(found.returns),
        "held_out": training.held,
        "held_out_rows": 0 if held is None else len(held.drawn) * training.together,
        "env_steps": training.used,
        "startup_cpu_seconds": spent["startup"],
        "read_cpu_seconds": spent["read"],
        "train_cpu_seconds": spent["train"],
        "eval_cpu_seconds": spent["eval"],
        "seed": config.seed,
        "workers": config.workers,
        "evaluation": summary,
        "versions": versions(),
    }


def _coverage(training: OfflineTraining, policy: Policy) -> dict[str, Any] | None:
    """What the log cannot tell of the policy, with a plain warning on standard error."""
    try:
        found = coverage_of(training.source.log, policy)
    except LogError as error:
        print(f"How far the log covers the policy is not known: {error}.", file=sys.stderr)
        return None
    warning = found.warning()
    if warning is not None:
        print(f"{warning[0].upper()}{warning[1:]}.", file=sys.stderr, flush=True)
    return {**found.to_json(), "warning": warning}
