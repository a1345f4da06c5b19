"""Users, documents and a reward put together into a world of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np

from envs.history import Term
from envs.recsim.importing import load, unpickle
from envs.recsim.layout import Layout
from envs.recsim.luck import Streams, global_generator_kept, streams, use
from envs.simulator import check_sizes
from envs.spec import FeatureSpec

# Bounded whatever the features are: traces over about ten steps.
GENERAL_HISTORY = (Term("click", 0.9, 0.1), Term("no_click", 0.9, 0.1), Term("item", 0.9, 0.1))


class Composition:
    """Everything that makes a world of RecSim's classes; see `compose`.

    Attributes:
        num_candidates: N.
        slate_size: K.
        time_limit: steps after which a session is cut, `None` for never.
        default_history: what the observations remember unless told otherwise.
        spec: features, read from the spaces of the classes.
    """

    def __init__(
        self,
        user_model: Callable[[], Any],
        document_sampler: Callable[[], Any],
        reward: Callable[[Sequence[Any]], float],
        num_candidates: int,
        slate_size: int,
        *,
        resample_documents: bool = True,
        time_limit: int | None = None,
        user_feature: str = "user",
        candidate_feature: str = "features",
        appeal: tuple[str | None, str] | None = None,
        default_history: Sequence[Term] = GENERAL_HISTORY,
    ) -> None:
        """Check the parts by building them once; see `compose`."""
        check_sizes(num_candidates, slate_size)
        if time_limit is not None and time_limit < 1:
            raise ValueError(f"time_limit is {time_limit}; it must be at least 1 step, or null")
        self._user_model, self._document_sampler, self._reward = (
            user_model,
            document_sampler,
            reward,
        )
        self.num_candidates, self.slate_size = num_candidates, slate_size
        self.time_limit, self.default_history = time_limit, tuple(default_history)
        self._resample_documents = resample_documents
        self._read_spaces(user_feature, candidate_feature, appeal)

    def build(self, luck: Streams) -> Any:
        """A fresh `recsim` environment of one user, who draws from `luck`.

        Call within `global_generator_kept`, with the user's global stream in use.

        Raises:
            ValueError: the parts do not fit together.
        """
        simulation = load("recsim.simulator.environment")
        user_model, document_sampler = self._user_model(), self._document_sampler()
        for part, base in (
            (user_model, load("recsim.user").AbstractUserModel),
            (document_sampler, load("recsim.document").AbstractDocumentSampler),
        ):
            if not isinstance(part, base):
                raise ValueError(
                    f"expected a {base.__name__} of recsim, got a {type(part).__name__}"
                )
        # Both samplers seed themselves with one number, so they would draw
        # the same stream, and some ignore the number.
        user_model._user_sampler._rng = np.random.RandomState(luck.user)
        document_sampler._rng = np.random.RandomState(luck.documents)
        return simulation.Environment(
            user_model,
            document_sampler,
            self.num_candidates,
            self.slate_size,
            resample_documents=self._resample_documents,
        )

    @property
    def reward_name(self) -> str:
        """What the reward function is called."""
        return str(getattr(self._reward, "__name__", type(self._reward).__name__))

    def reward(self, responses: Sequence[Any]) -> float:
        """The reward of one step, from RecSim's response objects."""
        return float(self._reward(responses))

    def _read_spaces(
        self, user_feature: str, candidate_feature: str, appeal: tuple[str | None, str] | None
    ) -> None:
        luck = streams(0, 0)
        with global_generator_kept():
            use(luck.global_)
            if self._document_sampler() is self._document_sampler():
                raise ValueError(
                    "document_sampler gives the same object twice; pass a function that makes "
                    "a new one at every call, because every user has documents of their own"
                )
            environment = self.build(luck)
            model = environment.user_model
            document = environment.candidate_set.get_all_documents()[0]
            response = model.response_space().spaces[0]
            self.user_layout = Layout.of(model.observation_space(), user_feature)
            self.candidate_layout = Layout.of(document.observation_space(), candidate_feature)
            self.response_layout = Layout.of(response, "response")
        names = [feature.name for feature in self.response_layout.features]
        if "click" not in names:
            raise ValueError(
                f"the responses have no entry 'click', only: {', '.join(names)}; add "
                "'click': spaces.Discrete(2) to response_space and 0 or 1 to create_observation"
            )
        self.spec = FeatureSpec(
            user=self.user_layout.features,
            candidate=self.candidate_layout.features,
            response=self.response_layout.features,
            appeal=appeal,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By way of bytes, so that a fresh process imports recsim before its objects."""
        return _restore, (cloudpickle.dumps((type(self), vars(self))),)


def _restore(content: bytes) -> Composition:
    kind, attributes = unpickle(content)
    composition: Composition = kind.__new__(kind)
    vars(composition).update(attributes)
    return composition


def compose(
    user_model: Callable[[], Any],
    document_sampler: Callable[[], Any],
    reward: Callable[[Sequence[Any]], float],
    num_candidates: int,
    slate_size: int,
    **options: Any,
) -> Composition:
    """A world of one's own users and documents, written as subclasses of RecSim's.

    What the parts may draw from, to be reproducible: `self._rng` in samplers,
    `np.random` everywhere else. They are built anew for every user.

    Args:
        user_model: makes an `AbstractUserModel`; without arguments.
        document_sampler: makes an `AbstractDocumentSampler`; without arguments.
        reward: of one step, from the list of K response objects.
        num_candidates: N.
        slate_size: K.
        **options: `resample_documents` (new candidates at every step, True),
            `time_limit` in steps (None), `user_feature` and `candidate_feature`
            (names of observations that are not dictionaries), `default_history`
            (terms to remember), `appeal`: names of a user feature and of a
            candidate feature whose dot product says how attractive a document
            is, or (`None`, name) for a candidate feature that does so alone;
            agents that assume a choice model need one.

    Raises:
        ValueError: the parts do not fit together.
    """
    return Composition(user_model, document_sampler, reward, num_candidates, slate_size, **options)
