"""What a search leaves: the best config, a table of trials, the numbers and a picture."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from algorithms import strict_yaml
from algorithms.environment import on_backend
from algorithms.evaluation import EvaluationResult, evaluate_policy
from algorithms.layers import Plain
from algorithms.policy import Policy
from algorithms.run import versions, write_whole
from algorithms.training import Stop
from algorithms.tuning.plan import Plan
from algorithms.tuning.space import at
from algorithms.tuning.trials import DONE, Trial, Trials

BEST, TABLE, RESULT, PICTURE = "best.yaml", "trials.csv", "result.json", "tune.png"
LEAST = 8
"""Trials below which nothing is said of what matters."""

_GOOD = 0.25
"""The share of trials that count as good when settings are asked whether they matter."""

_PROCESSES = min(4, os.cpu_count() or 1)


def settings_of(plan: Plan, trial: Trial) -> Plain:
    """All searched keys of a trial, also of the start, which changes none."""
    if trial.settings:
        return trial.settings
    plain = plan.config.to_plain()
    return {each.key: at(plain, each.key) for each in plan.space}


def importances(plan: Plan, trials: Sequence[Trial]) -> dict[str, float]:
    """How much each setting decides whether a trial is among the best quarter; sums to 1.

    Trials that were stopped early count with what they had reached, which is below what
    others had; failed ones do not count. Empty for fewer than `LEAST` trials.

    Source: Watanabe, Bansal and Hutter (2023), "PED-ANOVA", arXiv:2304.10255, by Optuna.
    """
    known = [trial for trial in trials if trial.point is not None and trial.value is not None]
    if len(known) < LEAST or len({trial.value for trial in known}) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    distributions = {each.key: each.distribution for each in plan.space}
    for trial in known:
        assert trial.point is not None
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial.point), distributions=distributions, value=trial.value
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(value) for key, value in found.items()}


def play(plan: Plan, policy: Path, stop: Stop) -> EvaluationResult:
    """A trial's policy with the users that are reported, none of whom it was chosen by."""
    section = plan.config.evaluate
    world, _ = on_backend(plan.config.world, section.backend)
    return evaluate_policy(
        Policy.load(policy),
        world,
        section.users,
        section.seed,
        workers=_PROCESSES if world["backend"] == "google" else 0,
        tick=stop.check,
    )


def table(plan: Plan, trials: Sequence[Trial]) -> str:
    """A line for each trial."""
    keys = [each.key for each in plan.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["trial", "status", *keys, "env_steps", "return", "low", "high", "train_cpu_seconds"]
    writer.writerow([*head, "message"])
    for trial in trials:
        last, settings = trial.last, settings_of(plan, trial)
        read = ["", "", "", ""] if last is None else [last.steps, last.mean, last.low, last.high]
        values = [json.dumps(settings[key]) for key in keys]
        row = [trial.number, trial.status, *values, *read, round(trial.cpu_seconds, 3)]
        writer.writerow([*row, trial.message])
    return text.getvalue()


def result(
    plan: Plan,
    trials: Trials,
    best: Trial,
    played: EvaluationResult,
    start: EvaluationResult | None,
) -> dict[str, Any]:
    """The numbers, as plain data.

    Args:
        plan: of the search.
        trials: all of them.
        best: the one that won.
        played: its policy with the reported users.
        start: the same of the config as it stood, where that has a policy.
    """
    mean = played.mean_return.to_json()
    compared = None
    if start is not None:
        compared = {
            "return": start.mean_return.to_json(),
            "gain": played.minus(start)["return"].to_json(),
        }
    done = trials.done
    return {
        "algorithm": plan.config.algorithm,
        "environment": plan.config.env.name,
        "backend": played.backend,
        "trials": {status: sum(trial.status == status for trial in done) for status in DONE},
        "best": {
            "trial": best.number,
            "settings": settings_of(plan, best),
            "tuning_return": best.value,
        },
        "return_mean": mean["mean"],
        "return_ci95": mean["ci95"],
        "eval_users": len(played.returns),
        "start": compared,
        "importances": importances(plan, done),
        "env_steps": plan.config.train.env_steps,
        "train_cpu_seconds": sum(trial.cpu_seconds for trial in done),
        "seed": plan.config.seed,
        "versions": {**versions(), "optuna": optuna.__version__},
    }


def write(plan: Plan, trials: Trials, best: Trial, stop: Stop) -> dict[str, Any]:
    """Judge the best trial by the reported users and write everything.

    Returns:
        What stands in `result.json`.
    """
    from algorithms.tuning.plots import draw

    folder = trials.folder
    write_whole(folder / TABLE, table(plan, trials.done))
    write_whole(folder / BEST, strict_yaml.dump(plan.best_config(best.settings)))
    played = play(plan, trials.path(best.number) / "policy", stop)
    start = None
    if trials.all[0].status == "finished":
        same = best.number == 0
        start = played if same else play(plan, trials.path(0) / "policy", stop)
    found = result(plan, trials, best, played, start)
    draw(plan, trials.done, best, found["importances"], folder / PICTURE)
    write_whole(folder / RESULT, json.dumps(found, indent=2, allow_nan=False) + "\n")
    return found
