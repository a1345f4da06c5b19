"""The training step that every columnar algorithm shares."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from algorithms.cluster import WorkersLost
from algorithms.core.agent import Agent
from algorithms.core.fragment import Failure, Sample
from algorithms.rllib.config import ColumnarConfig

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 300.0
"""Without any worker, after which a run gives up."""

_PROBE_EVERY = 3.0
_PAUSE = 0.5
_REMOTE = "remote_env_runners"
_PLAY = "play_ahead"
_PROGRESS = "progress"


class ColumnarAlgorithm(Algorithm):
    """Samples a fragment on every runner, learns from the rows, repeats.

    Attributes:
        on_policy: whether rows count only if the present weights acted; remote runners
            then wait while the learner learns.
        env_steps: user-steps sampled so far.
        updates: batches learned from so far; the policy's version.
        cpu: CPU-seconds by purpose, of this process and the runners.
    """

    config: ColumnarConfig
    on_policy: ClassVar[bool] = False

    def setup(self, config: ColumnarConfig) -> None:
        """Set the counters, then build runners and learner."""
        self.env_steps = self.updates = 0
        self.cpu = {"simulate": 0.0, "inference": 0.0, "gradients": 0.0}
        self._answering = config.num_env_runners
        self._silent_since: float | None = None
        self._probed_at = 0.0
        self._measured: list[str] = []
        try:
            super().setup(config)
        except IndexError:
            # RLlib asks the first worker for the spaces, and looks at no answer.
            if config.num_env_runners == 0 or self.env_runner_group is not None:
                raise
            raise WorkersLost(f"no worker can be started: {why_no_worker(config)}") from None

    def training_step(self) -> None:
        """Sample and learn a few times, then report once, whatever the workers do.

        Raises:
            WorkersLost: none has answered for `PATIENCE_SECONDS`.
        """
        played: list[Sample] = []
        rounds = self.config.fragments_per_iteration
        for number in range(rounds):
            samples = self._sample()
            self._watch(samples)
            if not samples:
                break
            before = self.env_steps
            self.env_steps += sum(sample.steps for sample in samples)
            self.learn(samples, before, report=number == rounds - 1)
            played += samples
        else:
            self._report(played)
            return
        if played:
            self._collect_report()
        self._report(played)
        time.sleep(_PAUSE)

    def _watch(self, samples: list[Sample]) -> None:
        """Say when workers are lost and when they are back; give up without any."""
        group, now = self.env_runner_group, time.monotonic()
        if samples:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > PATIENCE_SECONDS:
            raise WorkersLost(f"no worker has answered for {PATIENCE_SECONDS:.0f} s")
        total = group.num_remote_env_runners()
        answering = group.num_healthy_remote_env_runners() if total else 0
        if answering < self._answering:
            logger.warning(
                "%d of %d workers answer; fragments in flight are lost, replacements are started.",
                answering,
                total,
            )
        elif answering > self._answering:
            logger.warning("%d of %d workers answer again.", answering, total)
        self._answering = answering

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """As RLlib's, but lost workers are asked for only now and then while others play.

        Each question waits for a while, and a lost node may never come back.
        """
        if env_runner_group.num_healthy_remote_env_runners():
            if time.monotonic() - self._probed_at < _PROBE_EVERY:
                return []
        restored: list[int] = super().restore_env_runners(env_runner_group)
        self._probed_at = time.monotonic()
        return restored

    def learn(self, samples: list[Sample], before: int, report: bool) -> None:
        """Learn from fresh samples.

        Args:
            samples: one or more a runner, in the order of the runners.
            before: user-steps that came earlier.
            report: whether the learner's numbers are wanted.
        """
        columns = concatenate([sample.columns for sample in samples])
        self.update(columns, before, sum(sample.steps for sample in samples), report)

    def update(self, columns: Mapping[str, Any], before: int, steps: int, report: bool) -> None:
        """Hand rows to the learner(s); arguments as in `learn`."""
        count = len(next(iter(columns.values())))
        batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, count)
        results = self.learner_group.update(
            batch=batch,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: before},
            steps_in_batch=steps,
            report=report,
        )
        self.updates += 1
        if report:
            self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def _collect_report(self) -> None:
        """The learner's numbers where the last batch of an iteration never came."""
        answers = self.learner_group.foreach_learner(lambda learner: learner.report())
        self.metrics.aggregate([answer.get() for answer in answers], key=LEARNER_RESULTS)

    def _sample(self) -> list[Sample]:
        """A fragment of every runner; remote ones play the next while these are learned.

        All in lockstep, so that a run depends on its seed and on no timing.

        Raises:
            ValueError: an agent or a world on a runner refuses what it got.
            RuntimeError: it failed there.
        """
        weights, group = self._weights(), self.env_runner_group
        request = {"policy_version": self.updates, "env_steps": self.env_steps}
        if group.num_remote_env_runners() == 0:
            samples: list[Sample] = self.env_runner.sample(weights=weights, **request)
            return samples
        # One round trip that carries the weights: a separate push can be
        # dropped while a request is in flight.
        answers = group.foreach_env_runner(
            "sample",
            kwargs={"weights": ray.put(weights), **request},
            local_env_runner=False,
        )
        samples = []
        for answer in answers:
            if isinstance(answer, Failure):
                raise answer.error()
            samples += answer
        if self.on_policy:
            return samples
        request["env_steps"] += sum(sample.steps for sample in samples)
        group.fetch_ready_async_reqs(tags=_PLAY, timeout_seconds=None)
        group.foreach_env_runner_async("play_ahead", tag=_PLAY, kwargs=request)
        return samples

    def _weights(self) -> dict[str, Any]:
        state = self.learner_group.get_state(
            components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
        )
        weights: dict[str, Any] = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
        return weights

    def _report(self, samples: list[Sample]) -> None:
        statistics = [sample.statistics for sample in samples]
        returns = np.concatenate([[], *(s.returns for s in statistics)])
        lengths = np.concatenate([[], *(s.lengths for s in statistics)])
        steps = sum(sample.steps for sample in samples)
        for sample in samples:
            for what, seconds in sample.cpu.items():
                self.cpu[what] += seconds
        self.cpu["gradients"] += float(
            self.metrics.peek((LEARNER_RESULTS, DEFAULT_MODULE_ID, "cpu_seconds"), default=0.0)
        )
        # Every key from the first iteration on, NaN if need be: CSV files and
        # Tune's stopping criteria break on keys that appear later.
        report = {
            EPISODE_RETURN_MEAN: float(returns.mean()) if len(returns) else float("nan"),
            EPISODE_LEN_MEAN: float(lengths.mean()) if len(lengths) else float("nan"),
            "num_episodes": float(len(returns)),
            "epsilon": self.config.settings().epsilon_at(self.env_steps),
            NUM_ENV_STEPS_SAMPLED: float(steps),
        }
        if samples:
            self._measured = list(statistics[0].means)
        for name in self._measured:
            values = sum(sample.steps * sample.statistics.means[name] for sample in samples)
            report[f"{name}_per_step"] = values / steps if steps else float("nan")
        for name, value in report.items():
            self.metrics.log_value((ENV_RUNNER_RESULTS, name), value, window=1)
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), steps, reduce="lifetime_sum"
        )

    def agent(self) -> Agent:
        """The agent with the learner's present weights, on the CPU, apart from training."""
        spec = self.config.get_rl_module_spec(
            spaces=self.env_runner.get_spaces(), inference_only=True
        )
        module = spec.build()
        module.set_state(self._weights())
        agent: Agent = module.agent.eval()
        return agent

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state, the counters and what remote runners are playing.

        RLlib's checkpoints hold the local runner only.
        """
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state[_PROGRESS] = {"env_steps": self.env_steps, "updates": self.updates}
        if self.env_runner_group.num_remote_env_runners():
            state[_REMOTE] = self.env_runner_group.foreach_env_runner(
                "get_state",
                kwargs={"not_components": COMPONENT_RL_MODULE},
                local_env_runner=False,
            )
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""
        super().set_state(state)
        if _PROGRESS in state:
            self.env_steps = state[_PROGRESS]["env_steps"]
            self.updates = state[_PROGRESS]["updates"]
        runners = self.env_runner_group.healthy_env_runner_ids()
        for runner, saved in zip(runners, state.get(_REMOTE, []), strict=False):
            self.env_runner_group.foreach_env_runner(
                "set_state",
                kwargs={"state": saved},
                remote_worker_ids=[runner],
                local_env_runner=False,
            )


def why_no_worker(config: ColumnarConfig) -> str:
    """The error of one more worker, which is started to find out."""
    runner = ray.remote(num_cpus=config.num_cpus_per_env_runner)(config.env_runner_cls)
    worker = runner.remote(config=config, worker_index=1, num_workers=1)
    try:
        ray.get(worker.assert_healthy.remote(), timeout=60)
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else type(error).__name__
    finally:
        ray.kill(worker)
    return "the first one died while it started"


def concatenate(columns: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of several samples one after the other, in the order of the runners."""
    if len(columns) == 1 and isinstance(next(iter(columns[0].values())), torch.Tensor):
        return columns[0]
    # A copy in any case: what comes out of the object store is read-only.
    return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
