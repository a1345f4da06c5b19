"""The best slate for a batch of users, under the choice model an agent assumes.

Multinomial models: item i is chosen with probability v_i / (sum of v + v_0),
so a slate is worth sum(v_i A_i) / (sum(v_i) + v_0), where A_i is the item's
value beyond that of no click. Cascades: the user walks down the slate and
stops at item i with probability a_i, so a slate is worth the sum of
a_i A_i times the chance that nothing above was taken.

Passing an item's whole value Q_i for A_i states that no click is worth 0.
Selection carries no gradient. Shapes: B users, N candidates, K slots.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

MULTINOMIAL = ("multinomial_logit", "multinomial_proportional")
CASCADES = ("exponential_cascade", "proportional_cascade")

_TINY = 1e-30  # keeps 0 / 0 at 0: a slate that nobody can choose from is worth no click
_MAX_ROUNDS = 50


def multinomial_value(
    value: Tensor, attraction: Tensor, no_click_mass: float | Tensor, slates: Tensor
) -> Tensor:
    """Worth of slates over no click under a multinomial choice, (B,).

    Args:
        value: A_i, (B, N), in the reward's unit.
        attraction: v_i >= 0, (B, N), unnormalised choice masses.
        no_click_mass: v_0 >= 0, a number or (B,).
        slates: (B, K) positions.

    Source: Ie et al. (2019), arXiv:1905.12767, section 5. Deviation: the paper
    gives no click the value 0; A_i may be measured from a learned one.
    """
    mass = attraction.gather(1, slates)
    total = (mass * value.gather(1, slates)).sum(1)
    return total / (mass.sum(1) + no_click_mass).clamp_min(_TINY)


def cascade_value(value: Tensor, stop: Tensor, slates: Tensor) -> Tensor:
    """Worth of ordered slates over no click under a cascade, (B,).

    Args:
        value: A_i, (B, N), in the reward's unit.
        stop: a_i in [0, 1], (B, N), probability to take an item that is reached.
        slates: (B, K) positions, first looked at first.
    """
    taken = stop.gather(1, slates)
    reached = torch.nn.functional.pad((1 - taken).cumprod(1)[:, :-1], (1, 0), value=1.0)
    return (reached * taken * value.gather(1, slates)).sum(1)


def slate_value(
    choice_model: str,
    value: Tensor,
    attraction: Tensor,
    no_click_mass: float | Tensor,
    slates: Tensor,
) -> Tensor:
    """Worth of slates over no click under a choice model by name, (B,); differentiable.

    Args:
        choice_model: one of `envs.choice.CHOICE_MODELS`.
        value: A_i, (B, N).
        attraction: v_i, or the stopping probabilities a_i of a cascade, (B, N).
        no_click_mass: v_0, a number or (B,); cascades have none and ignore it.
        slates: (B, K) positions.

    Raises:
        ValueError: an unknown choice model.
    """
    if _is_cascade(choice_model):
        return cascade_value(value, attraction, slates)
    return multinomial_value(value, attraction, no_click_mass, slates)


@torch.no_grad()
def top_k(
    value: Tensor, attraction: Tensor, no_click_mass: float | Tensor, mask: Tensor, slate_size: int
) -> tuple[Tensor, Tensor]:
    """The K items of largest v_i A_i, and the slate's worth; ties by position.

    Source: Ie et al. (2019), section 5.2, top-k. Deviation: advantages over no
    click, unless the caller passes values.
    """
    slates = _ranked(_among(attraction * value, mask), slate_size)
    return slates, multinomial_value(value, attraction, no_click_mass, slates)


@torch.no_grad()
def greedy(
    value: Tensor, attraction: Tensor, no_click_mass: float | Tensor, mask: Tensor, slate_size: int
) -> tuple[Tensor, Tensor]:
    """Slot by slot the item that makes the slate so far worth most; ties by position.

    Source: Ie et al. (2019), section 5.2, greedy.
    """
    worth = attraction * value
    total = torch.zeros_like(worth[:, :1])
    mass = total + _column(no_click_mass)
    open_ = mask.clone()
    picks = []
    for _ in range(slate_size):
        key = (total + worth) / (mass + attraction).clamp_min(_TINY)
        pick = _among(key, open_).argmax(1, keepdim=True)
        total, mass = total + worth.gather(1, pick), mass + attraction.gather(1, pick)
        open_.scatter_(1, pick, False)
        picks.append(pick)
    return torch.cat(picks, dim=1), (total / mass.clamp_min(_TINY)).squeeze(1)


@torch.no_grad()
def exact_multinomial(
    value: Tensor, attraction: Tensor, no_click_mass: float | Tensor, mask: Tensor, slate_size: int
) -> tuple[Tensor, Tensor]:
    """The slate of exactly K items that is worth most, and its worth.

    Dinkelbach's method: from level 0, take the top K of v_i (A_i - level) and
    make the level that slate's worth, until no row gains. The excess over a
    level is convex and falling in it, so this is Newton's method on it: after
    the first round levels only rise, and they stop at the optimum.

    Source: Dinkelbach (1967). The paper solves a linear program (section 5.1)
    instead, for slates of at most K; here every slot must be filled, even
    where each item is worth less than no click. In slate order v_i (A_i - level)
    falls, ties by position; among slates worth the same any may be returned.
    """
    pairs = torch.stack([attraction * value, attraction], dim=1)
    mass0 = _column(no_click_mass)
    slates, level = _round(pairs[:, 0], pairs, mass0, mask, slate_size)
    for _ in range(_MAX_ROUNDS):
        key = torch.addcmul(pairs[:, 0], level, attraction, value=-1)
        best, reached = _round(key, pairs, mass0, mask, slate_size)
        improved = reached > level
        if not bool(improved.any()):
            break
        slates, level = torch.where(improved, best, slates), torch.maximum(level, reached)
    slates = slates.sort(dim=1).values
    order = key.gather(1, slates).argsort(dim=1, descending=True, stable=True)
    return slates.gather(1, order), level.squeeze(1)


def _round(
    key: Tensor, pairs: Tensor, mass0: float | Tensor, mask: Tensor, slate_size: int
) -> tuple[Tensor, Tensor]:
    """The K best by key, (B, K) in any order, and what they are worth, (B, 1)."""
    best = _among(key, mask).topk(slate_size, dim=1, sorted=False).indices
    sums = pairs.gather(2, best[:, None].expand(-1, 2, -1)).sum(2)
    return best, sums[:, :1] / (sums[:, 1:] + mass0).clamp_min(_TINY)


@torch.no_grad()
def exact_cascade(
    value: Tensor, stop: Tensor, mask: Tensor, slate_size: int
) -> tuple[Tensor, Tensor]:
    """The ordered slate of exactly K items that is worth most under a cascade.

    Swapping neighbours i before j changes the worth by a_i a_j (A_i - A_j), so
    a slate is best in falling order of A. Along that order dynamic programming
    chooses the items: best[k] is the worth of k items among those below.

    Source: exchange argument and recursion written here; the paper treats
    multinomial models only.
    """
    order = _among(value, mask).argsort(dim=1, descending=True, stable=True)
    eligible = mask.gather(1, order)
    stop = stop.gather(1, order)
    worth = stop * value.gather(1, order).masked_fill(~eligible, 0.0)
    worth = worth.masked_fill(~eligible, -math.inf)
    batch, candidates = order.shape
    best = torch.full((batch, slate_size + 1), -math.inf, dtype=value.dtype, device=value.device)
    best[:, 0] = 0.0
    takes: list[Tensor] = []
    for item in reversed(range(candidates)):
        at = slice(item, item + 1)
        with_item = worth[:, at] + (1 - stop[:, at]).clamp_min(_TINY) * best[:, :-1]
        takes.append(with_item >= best[:, 1:])
        best = torch.cat([best[:, :1], torch.maximum(with_item, best[:, 1:])], dim=1)
    return _trace_back(takes[::-1], order, slate_size), best[:, -1]


def _trace_back(takes: list[Tensor], order: Tensor, slate_size: int) -> Tensor:
    """Follow the decisions from the most valuable item down."""
    left = torch.full_like(order[:, :1], slate_size)
    chosen = []
    for take in takes:
        here = take.gather(1, (left - 1).clamp_min(0)) & (left > 0)
        chosen.append(here)
        left = left - here.long()
    flags = torch.cat(chosen, dim=1)
    kept = flags.long().argsort(dim=1, descending=True, stable=True)[:, :slate_size]
    return order.gather(1, kept)


_Optimiser = Callable[[Tensor, Tensor, float | Tensor, Tensor, int], tuple[Tensor, Tensor]]

_MULTINOMIAL_METHODS: dict[str, _Optimiser] = {
    "top_k": top_k,
    "greedy": greedy,
    "exact": exact_multinomial,
}
METHODS = tuple(_MULTINOMIAL_METHODS)


def check_method(method: str, choice_model: str) -> None:
    """Refuse a combination that would not be what it claims.

    Raises:
        ValueError: an unknown name, or top-k or greedy with a cascade.
    """
    if method not in METHODS:
        raise ValueError(f"unknown slate optimiser '{method}'; choose one of {', '.join(METHODS)}")
    if _is_cascade(choice_model) and method != "exact":
        raise ValueError(
            f"the slate optimiser '{method}' is defined for multinomial choice models, "
            f"not for {choice_model}; use 'exact'"
        )


def optimise(
    method: str,
    choice_model: str,
    value: Tensor,
    attraction: Tensor,
    no_click_mass: float | Tensor,
    mask: Tensor,
    slate_size: int,
) -> tuple[Tensor, Tensor]:
    """A slate for each user, and what it is worth over no click.

    Args:
        method: `top_k`, `greedy` or `exact`.
        choice_model: one of `envs.choice.CHOICE_MODELS`, as the agent assumes it.
        value: A_i, (B, N), finite for eligible candidates.
        attraction: v_i >= 0, or the stopping probabilities a_i of a cascade, (B, N).
        no_click_mass: v_0 >= 0, a number or (B,); cascades ignore it.
        mask: (B, N) bool; each row has at least K eligible candidates.
        slate_size: K.

    Returns:
        slates: (B, K) int64, distinct eligible positions in slate order.
        worth: (B,), in the unit of `value`.

    Raises:
        ValueError: names that do not go together.
    """
    check_method(method, choice_model)
    if _is_cascade(choice_model):
        return exact_cascade(value, attraction, mask, slate_size)
    return _MULTINOMIAL_METHODS[method](value, attraction, no_click_mass, mask, slate_size)


def _is_cascade(choice_model: str) -> bool:
    if choice_model in CASCADES:
        return True
    if choice_model not in MULTINOMIAL:
        raise ValueError(
            f"unknown choice model '{choice_model}'; "
            f"choose one of {', '.join(MULTINOMIAL + CASCADES)}"
        )
    return False


def _among(key: Tensor, mask: Tensor) -> Tensor:
    return key.masked_fill(~mask, -math.inf)


def _ranked(key: Tensor, slate_size: int) -> Tensor:
    return key.argsort(dim=1, descending=True, stable=True)[:, :slate_size]


def _column(no_click_mass: float | Tensor) -> float | Tensor:
    return no_click_mass[:, None] if isinstance(no_click_mass, Tensor) else no_click_mass
