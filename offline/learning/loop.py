"""Trains an offline learner in a run folder: the loop between the log and the disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from algorithms.accounting import Clock, memory_bytes
from algorithms.metrics import STEPS, MetricsLog
from algorithms.policy import Policy
from algorithms.run import Checkpoint, RunError, versions
from algorithms.training import Progress, Stop, save_policy
from offline.learning.agent import OfflineAgent
from offline.learning.data import Block, Feed, Position
from offline.learning.order import fingerprint
from offline.learning.run import OfflineRun
from offline.learning.source import Source, make_agent, open_source
from offline.learning.steps import Learner, LocalLearner, check_finite

CHUNK, CHUNK_ROWS = 32, 2**16
"""Updates at most between two looks at the signals, and rows that travel to learners at once."""

_LEARNER, _BEST = "learner.pt", "best"


class OfflineTraining:
    """One process's part of a run.

    Attributes:
        run: the folder.
        source: the log.
        feed: its rows.
        learner: what takes the gradient steps.
        clock: CPU-seconds by purpose.
        position: the minibatch that comes next.
        together: rows of the log that each row of the feed stands for.
        used: rows learned from so far, each as often as it was.
    """

    def __init__(self, run: OfflineRun, checkpoint: Checkpoint | None, clock: Clock) -> None:
        """Read the log, and build the learner or continue from a checkpoint.

        Raises:
            ValueError: the log cannot be read, or is not the one of the checkpoint.
        """
        plan = run.config.train
        torch.set_num_threads(plan.torch_threads)
        self.run, self.clock = run, clock
        self.source: Source = open_source(run.config)
        self._files = fingerprint(self.source.log)
        agent = make_agent(run.config, self.source, fresh=checkpoint is None)
        self.clock.charge("startup", exact=True)
        self.feed = Feed(
            self.source.log,
            agent,
            self.source.computed,
            memory=int(plan.memory_gb * 2**30),
            holdout=plan.holdout,
            seed=run.config.seed,
        )
        self.clock.charge("read")
        self.size: int = agent.options.minibatch_size
        self.together = agent.together
        self.budget = self._budget()
        self.learner: Learner = self._learner(agent)
        state: dict[str, Any] = {} if checkpoint is None else checkpoint.state
        if checkpoint is not None:
            self._continue(checkpoint)
        self.position = Position(*state.get("position", ()))
        self.used: int = state.get(STEPS, 0)
        self._best: dict[str, Any] | None = state.get("best")
        self._held: dict[str, float] = state.get("held_out", {})
        self._reported: int = state.get("reported", 0)
        self._peak: int = state.get("peak_memory_bytes", 0)
        self._wall_before: float = state.get("wall_seconds", 0.0)
        self._log = MetricsLog(run.path, None if checkpoint is None else self.used)

    def _learner(self, agent: OfflineAgent) -> Learner:
        learners = self.run.config.workers
        if not learners:
            return LocalLearner(agent, self.budget)
        from offline.learning.parallel import ParallelLearner

        return ParallelLearner(agent, self.budget, learners)

    def _budget(self) -> int:
        plan = self.run.config.train
        limits = [] if plan.updates is None else [plan.updates]
        if plan.epochs is not None:
            limits.append(plan.epochs * math.ceil(self.feed.rows / self.size))
        return min(limits)

    def _continue(self, checkpoint: Checkpoint) -> None:
        if checkpoint.state["log"] != self._files:
            raise RunError(
                f"the log in {', '.join(self.run.config.data)} is not what it was when the run "
                f"in {self.run.path} began; bring it back, or start a new run (with --init)"
            )
        saved = torch.load(checkpoint.path / _LEARNER, weights_only=True)
        self.learner.set_state(saved)

    @property
    def rows(self) -> int:
        """Rows of the log that are learned from in an epoch."""
        return self.feed.rows * self.together

    @property
    def _wall(self) -> float:
        return self._wall_before + time.time() - psutil.Process().create_time()

    def loop(self, progress: Progress, signals: Stop) -> None:
        """Train until the budget is spent.

        Raises:
            Interrupted: the user asked to stop; the state is saved.
            LearningError: the loss is no number any more.
        """
        plan = self.run.config.train
        began, before = time.monotonic(), self.learner.updates
        for block, minibatches, position in self._chunks():
            self.learner.learn(block, minibatches)
            self.position = position
            self.used += sum(map(len, minibatches)) * self.together
            updates = self.learner.updates
            self.clock.charge("train")
            speed = (updates - before) / max(time.monotonic() - began, 1e-9)
            if updates % plan.evaluate_every == 0:
                self._report(speed)
            stopping = signals.asked  # looked at once: whoever stops has saved
            if stopping or updates % plan.checkpoint_every == 0:
                self._save()
            progress.update(updates, speed, self._held.get("loss", math.nan))
            if stopping:
                signals.check()
        if self.learner.updates != self._reported:
            self._report((self.learner.updates - before) / max(time.monotonic() - began, 1e-9))
        self._save()
        signals.check()

    def _chunks(self) -> Iterator[tuple[Block, list[torch.Tensor], Position]]:
        """Minibatches to learn from at once, and where the run stands after them."""
        plan, seed = self.run.config.train, self.run.config.seed
        epoch, first, skip = self.position
        while plan.epochs is None or epoch < plan.epochs:
            self.clock.charge("train")
            for number, block in enumerate(self.feed.blocks(epoch, first), first):
                self.clock.charge("read")
                order = block.minibatches(self.size, (seed, epoch, number))
                while skip < len(order):
                    room = self._room()
                    if not room:
                        return
                    taken = order[skip : skip + room]
                    skip += len(taken)
                    yield block, taken, Position(epoch, number, skip)
                self.position = Position(epoch, number + 1, 0)
                skip = 0
                if not self._room():
                    return  # before another block is read
            epoch, first = epoch + 1, 0
            self.position = Position(epoch)

    def _room(self) -> int:
        """Updates until something else has to be done."""
        plan, done = self.run.config.train, self.learner.updates
        rooms = [
            CHUNK,
            *(every - done % every for every in (plan.evaluate_every, plan.checkpoint_every)),
        ]
        if plan.updates is not None:
            rooms.append(plan.updates - done)
        return max(0, min(rooms))

    def _report(self, speed: float) -> None:
        """A row of metrics, with the losses on held out sessions; keep the best weights."""
        learned = self.learner.report()
        self.clock.charge("train")
        if self.feed.held is not None:
            self._held = self.learner.held_out(self.feed.held)
            check_finite({f"held_out/{k}": v for k, v in self._held.items()}, self.learner.updates)
        row = {
            STEPS: float(self.used),
            "updates": float(self.learner.updates),
            "epoch": self.used / max(1, self.rows),
            "updates_per_second": speed,
            "wall_seconds": self._wall,
            "train_cpu_seconds": self.clock.spent["train"],
            "held_out/loss": self._held.get("loss", math.nan),
        }
        row |= {f"held_out/{k}": v for k, v in sorted(self._held.items()) if k != "loss"}
        row |= {f"learner/{name}": value for name, value in sorted(learned.items())}
        self._log.write(row)
        self._reported = self.learner.updates
        loss = self._held.get("loss", math.nan)
        if self.run.config.train.select == _BEST and not math.isnan(loss):
            if self._best is None or loss < self._best["loss"]:
                self._best = {"loss": loss, "updates": self.learner.updates}
                self.run.save(_BEST, self._write, self._state())
        self.clock.charge("eval")

    def _save(self) -> None:
        self._peak = max(self._peak, memory_bytes())
        self.run.save_step(self.learner.updates, self._write, self._state())
        self.clock.charge("train")

    def _write(self, folder: Path) -> None:
        try:
            torch.save(self.learner.state(), folder / _LEARNER)
        except RuntimeError as error:  # a full disk, in torch's own words
            raise OSError(f"{folder}: {str(error).splitlines()[0]}") from error
        save_policy(self.policy(), folder / "policy")

    def _state(self) -> dict[str, Any]:
        return {
            STEPS: self.used,
            "updates": self.learner.updates,
            "position": list(self.position),
            "best": self._best,
            "held_out": self._held,
            "log": self._files,
            "reported": self._reported,
            "cpu_seconds": self.clock.spent,
            "wall_seconds": self._wall,
            "peak_memory_bytes": self._peak,
        }

    def policy(self) -> Policy:
        """The present policy."""
        config, agent = self.run.config, self.learner.agent
        world = self.source.world
        info: dict[str, Any] = {
            "data": list(config.data),
            "seed": config.seed,
            "updates": self.learner.updates,
            "versions": versions(),
        }
        if world is not None:
            info["world"] = json.loads(json.dumps(dict(world)))
        return Policy(
            agent.export(),
            exploration=agent.exploration,
            reward=self.source.log.header.reward,
            version=self.learner.updates,
            info=info,
        )

    def chosen(self) -> Policy:
        """The policy to export: the last, or the best one by the held-out loss."""
        if self._best is None:
            return self.policy()
        return Policy.load(self.run.checkpoints / _BEST)

    @property
    def best(self) -> dict[str, Any] | None:
        """Loss and updates of the best weights, where those are exported."""
        return self._best

    @property
    def held(self) -> dict[str, float]:
        """The last losses on held out sessions."""
        return self._held

    def close(self) -> tuple[float, int]:
        """End the learners; seconds and peak memory of the run in all its processes."""
        self._log.close()
        self._peak = max(self._peak, memory_bytes())
        self.learner.close()
        return self._wall, self._peak
