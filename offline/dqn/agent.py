"""DQN from a log: conservative Q-learning of single items, with returns along the log.

Sources: Mnih et al. (2015); dueling: Wang et al. (2016), arXiv:1511.06581; the returns:
Harutyunyan et al. (2016), arXiv:1602.04951, and Retrace of Munos et al. (2016),
arXiv:1606.02647, whose trace of a greedy policy goes on where the logged item is the best
one; the penalty: Kumar et al. (2020), arXiv:2006.04779, CQL(H).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from algorithms.dqn.agent import DQNAgent
from offline.learning.settings import LearnerSettings
from offline.values.agent import OfflineValueAgent, Valued, acted, observed
from offline.values.penalty import conservative_gap
from offline.values.settings import OfflineValueSettings


class OfflineDQNSettings(OfflineValueSettings):
    """What offline DQN adds.

    Attributes:
        dueling: the value of the state and advantages around their mean.
    """

    dueling: bool = False


class OfflineDQNAgent(OfflineValueAgent):
    """Trains the online DQN's network for single items from a log; its policy is an ordinary one.

    Clicks don't matter to it: what was chosen is the item that was shown.
    """

    name: ClassVar[str] = "dqn"
    options_class: ClassVar[type[LearnerSettings]] = OfflineDQNSettings
    options: OfflineDQNSettings
    online: DQNAgent

    def make_online(self) -> DQNAgent:
        """The ordinary DQN agent.

        Raises:
            ValueError: the log's slates hold several items.
        """
        if self.slate_size > 1:
            raise ValueError(
                f"the log's slates hold {self.slate_size} items, and offline dqn values single "
                "ones; use slateq"
            )
        settings = {**self.options.network(), "dueling": self.options.dueling}
        return DQNAgent(self.spec, self.history, self.slate_size, settings)

    def chosen(self, columns: dict[str, Tensor]) -> Tensor:
        """The item that was shown."""
        return columns["slate"][:, 0]

    def valued(self, columns: dict[str, Tensor]) -> Valued:
        """Of the best item, of the one shown, and whether they are the same."""
        seen, position = observed(columns), columns["position"]
        code = self.online.network.encode(seen.user, seen.history)
        values = self.online.values(code, seen.candidates, seen.mask, 1)[0]
        value, best = values.max(1)
        chosen_value = values.gather(1, position[:, None])[:, 0]
        full = self.options.trace == "full"
        keep = torch.ones_like(value) if full else (best == position).to(value.dtype)
        return Valued(value, chosen_value, keep)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Q(s, a) of the items shown, and the gap."""
        names = ("user", "history", "candidates", "mask", "position")
        user, history, candidates, mask, position = acted(columns, *names)
        code = self.online.network.encode(user, history)
        values = self.online.values(code, candidates, mask, 1)[0]
        predicted = {"chosen_value": values.gather(1, position[:, None])[:, 0]}
        if self.options.penalty:
            scaled = (values / self.options.value_scale).masked_fill(~mask, 0.0)
            predicted["gap"] = conservative_gap(scaled, mask.to(values.dtype), position)
        return predicted
