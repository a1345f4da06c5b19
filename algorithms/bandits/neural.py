"""NeuralLinear: Bayesian linear regression on the last layer of a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms.bandits.agent import Shown
from algorithms.bandits.context import all_terms
from algorithms.bandits.linear import LinearBandit, posterior_shares, upper_bound
from algorithms.bandits.ridge import Ridge
from algorithms.bandits.settings import BanditSettings, NeuralLinearSettings
from algorithms.core.agent import Decision
from algorithms.core.networks import layers
from algorithms.core.replay import Replay
from algorithms.core.settings import refuse_idle
from envs.spec import Feature


class Representation(nn.Module):
    """A context and ids, each with an embedding, to features for a linear model.

    Attributes:
        size: of the features, the last layer and a constant.
    """

    def __init__(
        self, context_size: int, ids: Sequence[int], embedding_size: int, hidden: Sequence[int]
    ) -> None:
        """Fresh weights; row 0 of each table is what all ids share, and all that unknown ones have.

        A known id adds a row of its own, which starts at zero, so that an id
        which was never trained on is as an unknown one.

        Args:
            context_size: columns of the context.
            ids: how many of each kind there are.
            embedding_size: columns for each id.
            hidden: widths of the layers.
        """
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(1 + n, embedding_size) for n in ids)
        for embedding in self.embeddings:
            assert isinstance(embedding, nn.Embedding)
            nn.init.zeros_(embedding.weight.detach())
        self.body = layers(context_size + len(ids) * embedding_size, hidden, layer_norm=True)
        self.size = hidden[-1] + 1

    def forward(self, context: Tensor, ids: Tensor) -> Tensor:
        """Features, (..., size), of contexts (..., d) and ids (..., m), -1 where unknown."""
        parts = [context]
        for column, embedding in enumerate(self.embeddings):
            assert isinstance(embedding, nn.Embedding)
            place, known = ids[..., column].long() + 1, embedding.num_embeddings
            own = (place > 0) & (place < known)
            alone = embedding(torch.where(own, place, 0)) * own[..., None]
            parts.append(embedding.weight[0] + alone)
        last: Tensor = self.body(torch.cat(parts, dim=-1))
        return nn.functional.pad(last, (0, 1), value=1.0)


class NeuralLinear(LinearBandit):
    """Learns a representation by gradient steps and regresses feedback on it in closed form.

    The latest rows are kept. Every `train_every` rounds the network is trained
    on them, and since that changes what the regression's inputs mean, its
    statistics are rebuilt from them; rows of the rounds between are added.

    Source: Riquelme, Tucker and Snoek (2018), "Deep Bayesian bandits
    showdown", arXiv:1802.09127. Deviations: the noise is not estimated, and
    upper confidence bounds may take the place of draws.
    """

    name: ClassVar[str] = "neural_linear"
    settings_class: ClassVar[type[BanditSettings]] = NeuralLinearSettings

    def default_context(self, per_arm: bool) -> tuple[str, ...]:
        """Everything: the network finds out what matters."""
        return all_terms(self.spec, self.history, per_arm)

    def make_ridge(self) -> Ridge:
        """On the representation, which is made here, too."""
        options = self.options
        # With a model for each arm the context is the user's alone, and so are the ids.
        groups = (self.spec.user,) if self.arms else (self.spec.user, self.spec.candidate)
        ids = [int(f.high) + 1 for group in groups for f in group if f.kind == "id"]
        if not ids:
            because = f"{'users' if self.arms else 'users and items'} have no feature that is an id"
            refuse_idle(options, ["embedding_size"], because, "train in a world with ids")
        self.network = Representation(
            self.context.size, ids, options.embedding_size, options.hidden
        )
        num_arms = self.arms.count if self.arms else 1
        self.head = nn.Linear(self.network.size, num_arms, bias=False)
        self._replay = Replay(options.buffer, seed=int(self.salt))
        self._optimiser = torch.optim.AdamW(
            [*self.network.parameters(), *self.head.parameters()],
            lr=options.lr,
            weight_decay=options.weight_decay,
        )
        draws = options.draws if options.explore_by == "thompson" else 0
        return self._ridge(self.network.size, draws)

    def features(self, user: Tensor, items: Tensor, history: Tensor) -> Tensor:
        """The representation."""
        features: Tensor = self.network(*self._inputs(user, items, history))
        return features

    def _inputs(self, user: Tensor, items: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        context, of_users = self.context(user, items, history), _id_columns(self.spec.user)
        if self.arms is not None:
            return context, user[:, None, of_users]
        count = items.shape[1]
        ids = user[:, None, of_users].expand(-1, count, -1)
        of_items = items[..., _id_columns(self.spec.candidate)]
        return context.expand(-1, count, -1), torch.cat([ids, of_items], dim=2)

    def weigh(self, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int) -> Decision:
        """By upper confidence bounds or by shares of draws."""
        if self.options.explore_by == "thompson":
            return posterior_shares(self.ridge, x, arm, mask, slate_size)
        return upper_bound(self.ridge, self.options.alpha, x, arm)

    def summarise(self, shown: Shown) -> dict[str, Tensor]:
        """The rows themselves, as statistics are worth nothing once the network has changed."""
        arm, feedback = self.known_arms(shown), shown.feedback
        context, ids = self._inputs(shown.user, shown.item[:, None], shown.history)
        arm = torch.zeros_like(feedback, dtype=torch.int64) if arm is None else arm
        return {"context": context[:, 0], "ids": ids[:, 0], "arm": arm, "feedback": feedback}

    @torch.no_grad()
    def learn(self, columns: dict[str, Tensor]) -> None:
        """Add a round's rows; train and rebuild if it is time."""
        sums = self._sums(columns)
        self.ridge.statistics.add({name: value[None] for name, value in sums.items()})
        self._replay.add(columns)
        if int(self.ridge.statistics.rounds) % self.options.train_every == 0:
            for _ in range(self.options.gradient_steps):
                self._step(self._replay.sample(self.options.minibatch_size))
            self.ridge.statistics.replace(self._sums(self._replay.rows()))

    def _sums(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.network(columns["context"], columns["ids"])
        return self.ridge.sums(x, columns["feedback"], columns["arm"])

    @torch.enable_grad()
    def _step(self, columns: dict[str, Tensor]) -> None:
        x = self.network(columns["context"], columns["ids"])
        predicted = self.head(x).gather(1, columns["arm"].clamp_min(0)[:, None])[:, 0]
        known = (columns["arm"] >= 0).to(predicted.dtype)
        loss = (known * (predicted - columns["feedback"]).square()).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()

    def refresh(self) -> None:
        """Solve the regression and draw from its posterior where draws are acted from."""
        super().refresh()
        if self.options.explore_by == "thompson":
            self.ridge.draw(self.options.spread, self.generator())

    def learning_state(self) -> dict[str, Any]:
        """With the rows and the optimiser."""
        own = {"replay": self._replay.get_state(), "optimiser": self._optimiser.state_dict()}
        return copy.deepcopy({**super().learning_state(), **own})

    def set_learning_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `learning_state`."""
        super().set_learning_state(state)
        self._replay.set_state(state["replay"])
        self._optimiser.load_state_dict(state["optimiser"])


def _id_columns(features: tuple[Feature, ...]) -> list[int]:
    kinds = [feature.kind for feature in features for _ in range(feature.size)]
    return [column for column, kind in enumerate(kinds) if kind == "id"]
