"""Run folders as training leaves them, made without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from algorithms.config import load_config
from algorithms.policy import Policy, baseline
from algorithms.run import create_run
from envs.registry import make_simulator


class Maker:
    """Makes run folders whose policy is a baseline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        label: str = "run",
        acting: str = "click_maximiser",
        algorithm: str = "slateq",
        ended: bool = True,
        **world: Any,
    ) -> Path:
        named = {"name": "interest_evolution", **world}
        overrides = [f"env.{key}={json.dumps(value)}" for key, value in named.items()]
        run = create_run(load_config(algorithm, overrides=overrides), self.folder / label)
        simulator = make_simulator(num_users=1, **{**run.config.env.world, "history": []})
        made = baseline(acting, simulator.spec, simulator.history, simulator.slate_size)
        policy = Policy(made.agent, info={"world": run.config.env.world})
        run.metrics.write_text(
            "env_steps,return_mean,click_per_step,eval_return,eval_low,eval_high\n"
            "1000,150.0,0.4,,,\n2000,160.0,0.5,165.0,160.0,170.0\n"
        )
        if ended:
            policy.save(run.policy)
            run.write_result(
                {
                    "return_mean": 165.0,
                    "return_ci95": [160.0, 170.0],
                    "env_steps": 2000,
                    "eval_users": 500,
                    "backend": "torch",
                    "train_cpu_seconds": 12.5,
                }
            )
        else:
            run.save_step(1500, lambda folder: policy.save(folder / "policy"), {"env_steps": 1500})
        return run.path


@pytest.fixture
def make_run(tmp_path: Path) -> Maker:
    return Maker(tmp_path)
