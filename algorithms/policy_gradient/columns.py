"""From a fragment to the rows that policy gradients learn from."""

from __future__ import annotations

from torch import Tensor

from algorithms.core.advantages import generalised_advantages, returns_to_go
from algorithms.core.fragment import Fragment
from algorithms.core.rows import next_values
from algorithms.policy_gradient.settings import ReinforceSettings


def acted(fragment: Fragment) -> dict[str, Tensor]:
    """What was seen and done, (T * B, ...) each."""
    names = ("user", "history", "candidates", "mask")
    seen = {name: fragment.observed(name).flatten(0, 1) for name in names}
    return {**seen, "actions": fragment.slates.flatten(0, 1)}


def with_advantages(
    fragment: Fragment, discount: float, lam: float, *, log_probs: bool = False
) -> dict[str, Tensor]:
    """All rows, with generalised advantages and the returns that values are to predict.

    Args:
        fragment: of T steps of B users.
        discount: per step.
        lam: lambda of the advantages.
        log_probs: whether to add the log-probability of what was done, as `log_prob`.
    """
    advantages, returns = generalised_advantages(
        fragment.happened("reward"),
        fragment.happened("terminated"),
        fragment.happened("truncated"),
        next_values(fragment),
        fragment.extra("value"),
        lam=lam,
        discount=discount,
    )
    columns = acted(fragment)
    if log_probs:
        columns["log_prob"] = fragment.slot_log_probs.sum(dim=2).flatten()
    return {**columns, "advantage": advantages.flatten(), "return": returns.flatten()}


def with_returns(fragment: Fragment, options: ReinforceSettings) -> dict[str, Tensor]:
    """Rows of sessions that end inside the fragment, with what they earned from there on."""
    ended = fragment.happened("terminated") | fragment.happened("truncated")
    returns, complete = returns_to_go(fragment.happened("reward"), ended, discount=options.gamma)
    kept = complete.flatten()
    columns = {name: value[kept] for name, value in acted(fragment).items()}
    columns["return"] = returns[complete]
    columns["advantage"] = columns["return"]
    if options.baseline == "value":
        columns["advantage"] = columns["return"] - fragment.extra("value")[complete]
    elif options.baseline == "mean" and len(columns["return"]):
        columns["advantage"] = columns["return"] - columns["return"].mean()
    return columns
