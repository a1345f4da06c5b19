"""An RLlib Learner with its own loop over minibatches."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from algorithms.core.schedule import warm_cosine

if TYPE_CHECKING:
    from algorithms.core.agent import Agent
    from algorithms.core.settings import Settings
    from algorithms.rllib.config import ColumnarConfig

_LEARNING = "learning"


class ColumnarLearner(TorchLearner):
    """Takes gradient steps on rows, or lets agents that learn otherwise absorb them.

    RLlib's own loop costs a third more CPU, leaves the first epoch unshuffled,
    wraps the tail of a batch around and draws from the global generator.
    """

    def build(self) -> None:
        """Build the module, the optimiser and the generator of the shuffles."""
        super().build()
        seed = np.random.SeedSequence(self.config.run_seed, spawn_key=(2,)).generate_state(1)[0]
        self._generator = torch.Generator().manual_seed(int(seed))
        self._cpu = 0.0
        self._numbers: dict[str, dict[str, float]] = {}
        self._row_errors: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def configure_optimizers_for_module(
        self, module_id: str, config: ColumnarConfig | None = None
    ) -> None:
        """Adam, fused, over what is trained by gradient steps."""
        assert config is not None
        if self._agent(module_id).absorbs:
            return
        parameters = [p for p in self.module[module_id].parameters() if p.requires_grad]
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, lr=config.lr, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: ColumnarConfig, batch: Any, fwd_out: Any
    ) -> Tensor:
        """The agent's own loss."""
        module = self.module[module_id].unwrapped()
        terms = module.agent.loss(batch, fwd_out, module.target_agent)
        self._terms = terms
        loss: Tensor = terms["loss"]
        return loss

    def update(
        self,
        batch: MultiAgentBatch | None = None,
        *,
        training_data: TrainingData | None = None,
        timesteps: dict[str, Any] | None = None,
        steps_in_batch: int = 0,
        report: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Take gradient steps on every row, `num_epochs` times, or let the agent absorb them.

        Args:
            batch: rows by module.
            training_data: the same, from RLlib's LearnerGroup.
            timesteps: holds the user-steps sampled before this batch.
            steps_in_batch: user-steps that this batch stands for; moves the schedules.
            report: whether to return metrics.
            **kwargs: RLlib's, without effect.
        """
        self._check_is_built()
        self.before_gradient_based_update(timesteps=timesteps or {})
        data = training_data or TrainingData(batch=batch)
        data.validate()
        data.solve_refs()
        self._weights_seq_no += 1
        before = (timesteps or {}).get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)
        clock = time.thread_time()
        for module_id, rows in data.batch.policy_batches.items():
            numbers = self._train(module_id, rows, before, steps_in_batch)
            self._cpu += time.thread_time() - clock
            self._numbers[module_id] = numbers
        self.after_gradient_based_update(timesteps=timesteps or {})
        return self.report() if report else {}

    def report(self) -> Any:
        """Metrics of the last update; `cpu_seconds` covers all since the last report."""
        for module_id, numbers in self._numbers.items():
            numbers["cpu_seconds"], self._cpu = self._cpu, 0.0
            for name, value in numbers.items():
                self.metrics.log_value((module_id, name), value, window=1)
        return self.metrics.reduce()

    def _train(self, module_id: str, rows: Any, before: int, steps: int) -> dict[str, float]:
        columns = {
            name: torch.as_tensor(value).to(self.device, non_blocking=True)
            for name, value in rows.items()
        }
        agent = self._agent(module_id)
        if agent.absorbs:
            return agent.absorb(columns)
        config = self.config.get_config_for_module(module_id)
        settings: Settings = config.settings()
        count = len(next(iter(columns.values())))
        size = min(settings.minibatch_size, count)
        total = settings.num_epochs * math.ceil(count / size)
        optimizer = self.get_optimizer(module_id)
        parameters = optimizer.param_groups[0]["params"]
        done = 0
        sums: dict[str, Tensor] = {}
        for _ in range(settings.num_epochs):
            order = torch.randperm(count, generator=self._generator).to(self.device)
            for indices in order.split(size):
                minibatch = {name: value[indices] for name, value in columns.items()}
                rate = learning_rate(settings, before + steps * done / total, size)
                optimizer.param_groups[0]["lr"] = rate
                terms, norm = self._step(module_id, config, minibatch, optimizer, parameters)
                for name, value in {**terms, "gradient_norm": norm}.items():
                    sums[name] = sums[name] + value.detach() if name in sums else value.detach()
                done += 1
        report = {name: float(value) / done for name, value in sums.items()}
        return {**report, "learning_rate": rate, "gradient_steps": float(done)}

    def _step(
        self,
        module_id: str,
        config: ColumnarConfig,
        minibatch: dict[str, Tensor],
        optimizer: torch.optim.Optimizer,
        parameters: list[Tensor],
    ) -> tuple[dict[str, Tensor], Tensor]:
        predicted = self.module[module_id].forward_train(minibatch)
        loss = self.compute_loss_for_module(
            module_id=module_id, config=config, batch=minibatch, fwd_out=predicted
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        if "row_errors" in self._terms:
            errors = (minibatch["row"].cpu(), self._terms.pop("row_errors").cpu())
            self._row_errors.setdefault(module_id, []).append(errors)
        return self._terms, norm

    def take_row_errors(self, module_id: str) -> tuple[Tensor, Tensor]:
        """Where the rows learned from stand in a replay, (n,), and their errors, (n,).

        For agents whose loss gives `row_errors`; of the updates since the last call.
        """
        rows, errors = zip(*self._row_errors.pop(module_id), strict=True)
        return torch.cat(rows), torch.cat(errors)

    def _agent(self, module_id: str) -> Agent:
        agent: Agent = self.module[module_id].unwrapped().agent
        return agent

    def sync_target(self, module_id: str) -> None:
        """Copy the trained weights to the target network."""
        module = self.module[module_id].unwrapped()
        module.target_agent.load_state_dict(module.agent.state_dict())

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """RLlib's state, the generator of the shuffles and what agents need to learn on."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        state["shuffles"] = self._generator.get_state()
        if self._check_component(_LEARNING, components, not_components):
            modules = self.module.keys()
            state[_LEARNING] = {name: self._agent(name).learning_state() for name in modules}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`, also from an earlier one.

        RLlib ignores weights with a lower sequence number than the present
        ones, which makes a rollback do nothing.
        """
        self._weights_seq_no = 0
        super().set_state(state)
        if "shuffles" in state:
            self._generator.set_state(torch.as_tensor(state["shuffles"]))
        for name, learning in state.get(_LEARNING, {}).items():
            self._agent(name).set_learning_state(learning)


def learning_rate(settings: Settings, step: float, rows: int) -> float:
    """The learning rate at a user-step: linear warm-up, then constant or half a cosine.

    Args:
        settings: rate and schedule.
        step: user-steps so far.
        rows: of the gradient step, so that the very first one moves the weights too.
    """
    warmed = (step + rows) / settings.warmup_steps if settings.warmup_steps else 1.0
    cosine = settings.lr_schedule == "cosine" and settings.schedule_steps is not None
    done = step / settings.schedule_steps if settings.schedule_steps else 0.0
    return warm_cosine(settings.lr, done, warmed, cosine=cosine)
