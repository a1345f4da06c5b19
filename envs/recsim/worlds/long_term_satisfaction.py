"""Google's long-term satisfaction, with its faults put right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.long_term_satisfaction import LongTermSatisfaction
from envs.recsim.composition import Composition, compose
from envs.recsim.importing import recsim_importable
from envs.recsim.worlds import with_defaults

with recsim_importable():
    from recsim import user as google_user
    from recsim.environments import long_term_satisfaction as google

OF_WORLDS = ("num_candidates", "slate_size")


def composition(parameters: Mapping[str, Any], resample_documents: bool = True) -> Composition:
    """The world with the arguments of `envs.long_term_satisfaction.LongTermSatisfaction`.

    The user consumes the first document of a slate; the reward is not clipped,
    while the observed engagement is.

    Args:
        parameters: of the torch world.
        resample_documents: whether candidates are drawn anew at every step.
    """
    arguments = with_defaults(LongTermSatisfaction, parameters)
    world = LongTermSatisfaction(**arguments)
    of_users = {key: value for key, value in arguments.items() if key not in OF_WORLDS}
    return compose(
        user_model=lambda: UserModel(
            world.slate_size, google.LTSStaticUserSampler(google.LTSUserState, **of_users)
        ),
        document_sampler=google.LTSDocumentSampler,
        reward=google.clicked_engagement_reward,
        num_candidates=world.num_candidates,
        slate_size=world.slate_size,
        resample_documents=resample_documents,
        candidate_feature="clickbait_score",
        appeal=(None, "clickbait_score"),
        default_history=world.default_history,
    )


class UserModel(google.LTSUserModel):
    """RecSim's user model, whose sampler can be given."""

    def __init__(self, slate_size: int, sampler: Any) -> None:
        """A user drawn by `sampler`."""
        google_user.AbstractUserModel.__init__(self, Response, sampler, slate_size)


class Response(google.LTSResponse):
    """RecSim's response, which cannot be printed as published."""

    def __str__(self) -> str:
        """Engagement in brackets."""
        return f"[{self.engagement}]"
