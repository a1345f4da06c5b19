"""SlateQ on RLlib's new API stack."""

from __future__ import annotations

from algorithms.rllib.config import ColumnarConfig
from algorithms.rllib.replaying import ReplayingAlgorithm
from algorithms.slateq.agent import SlateQAgent
from algorithms.slateq.settings import SlateQSettings


class SlateQConfig(ColumnarConfig):
    """Config of SlateQ; `.training()` takes the fields of `SlateQSettings`.

    .. code-block:: python

        algo = (
            SlateQConfig()
            .environment("interest_evolution", env_config={"slate_size": 3})
            .env_runners(num_env_runners=2)
            .training(lr=2e-3, schedule_steps=1_000_000)
            .build_algo()
        )
    """

    settings_class = SlateQSettings
    agent_class = SlateQAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `SlateQSettings`."""
        super().__init__(algo_class=algo_class or SlateQ)


class SlateQ(ReplayingAlgorithm):
    """Learns from fresh fragments, or from a replay buffer as in the paper."""

    @classmethod
    def get_default_config(cls) -> SlateQConfig:
        """A fresh `SlateQConfig`."""
        return SlateQConfig()
