"""The one family of slate distributions that every policy acts from.

A slate is filled slot by slot. With probability `epsilon` the item is uniform
over the remaining eligible ones; otherwise it is drawn from a softmax of
`log_weights / temperature` over them (Plackett-Luce) or, at temperature 0, is
the next item of the optimiser's slate not shown yet. Random, greedy,
epsilon-greedy and Plackett-Luce policies are special cases.

Shapes: B users, N candidates, K slots. Slates are (B, K) int64 positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from algorithms.core import slate_moments
from algorithms.core.slate_probability import (
    NEVER,
    certain,
    follows,
    mix,
    plackett_luce_slots,
    repeats,
)


@dataclass(frozen=True, eq=False)
class SlateDistribution:
    """Probabilities of ordered slates for a batch of users.

    Attributes:
        log_weights: (B, N), finite for eligible candidates. Unused at
            temperature 0 where `greedy` is given.
        mask: (B, N) bool, eligible candidates.
        slate_size: K.
        epsilon: probability of a uniform item, slot by slot.
        temperature: of the softmax; 0 follows `greedy`.
        greedy: the optimiser's slate, (B, K) distinct eligible positions, for
            temperature 0. Without it the best log-weights, ties by position.
        pinned: (B, K) positions fixed from outside, -1 where the slot is free.
            A pinned slot has probability 1 and no other slot may show its item.

    Raises:
        ValueError: epsilon outside [0, 1], a negative temperature, shapes that
            differ, fewer eligible candidates than slots, impossible pins.
    """

    log_weights: Tensor
    mask: Tensor
    slate_size: int
    epsilon: float = 0.0
    temperature: float = 1.0
    greedy: Tensor | None = None
    pinned: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse what states no distribution."""
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon is {self.epsilon}; it is a probability, from 0 to 1")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature is {self.temperature}; it must be finite and not negative "
                "(0 follows the optimiser's slate)"
            )
        if self.slate_size < 1:
            raise ValueError(f"slate_size is {self.slate_size}; it must be at least 1")
        _check_shape("log_weights", self.log_weights, tuple(self.mask.shape))
        slots = (len(self.mask), self.slate_size)
        if self.greedy is not None:
            _check_shape("greedy", self.greedy, slots)
        if len(self.mask) and int(self._eligible.min()) < self.slate_size:
            row = int(self._eligible.argmin())
            raise ValueError(
                f"row {row} has {int(self._eligible[row])} eligible candidates for "
                f"{self.slate_size} slots; lower slate_size or offer more candidates"
            )
        if self.pinned is not None:
            _check_shape("pinned", self.pinned, slots)
            _check_pins(self.pinned, self.mask)

    @cached_property
    def _eligible(self) -> Tensor:
        return self.mask.sum(1)

    @cached_property
    def free(self) -> Tensor:
        """(B, N) bool: eligible candidates that are not pinned."""
        if self.pinned is None:
            return self.mask
        padded = torch.nn.functional.pad(self.mask, (1, 0))  # pins of -1 land in column 0
        return padded.scatter(1, self.pinned + 1, False)[:, 1:]

    @cached_property
    def remaining(self) -> Tensor:
        """(B, K): how many candidates a free slot chooses from; at least 1."""
        if self.pinned is None:
            slots = torch.arange(self.slate_size, device=self.mask.device)
            return self._eligible[:, None] - slots
        is_free = (self.pinned < 0).long()
        earlier = is_free.cumsum(1) - is_free
        return (self.free.sum(1, keepdim=True) - earlier).clamp_min(1)

    @cached_property
    def _scores(self) -> Tensor:
        """(B, N): log-weights over the temperature, from the best one down.

        The difference first: dividing large values by a small temperature loses digits.
        """
        best = self.log_weights.detach().masked_fill(~self.free, NEVER).amax(1, keepdim=True)
        return (self.log_weights - best) / self.temperature

    @cached_property
    def _order(self) -> Tensor:
        """(B, K): the optimiser's slate, pinned items moved to its end."""
        if self.greedy is None:
            keys = self.log_weights.detach().masked_fill(~self.free, -math.inf)
            return keys.argsort(dim=1, descending=True, stable=True)[:, : self.slate_size]
        if self.pinned is None:
            return self.greedy
        is_pinned = (self.greedy[:, :, None] == self.pinned[:, None, :]).any(2)
        return self.greedy.gather(1, is_pinned.long().argsort(dim=1, stable=True))

    @cached_property
    def _rank(self) -> Tensor:
        """(B, N): place in the optimiser's slate; K for all other candidates."""
        rank = self.log_weights.new_full(self.mask.shape, self.slate_size)
        places = torch.arange(self.slate_size, dtype=rank.dtype, device=rank.device)
        return rank.scatter_(1, self._order, places.expand(len(self.mask), -1))

    def mode(self) -> Tensor:
        """The slate shown without exploration, (B, K).

        The optimiser's slate if there is one, else the best log-weights in
        order, ties by position; pinned slots hold their items.
        """
        return self._with_pins(self._order)

    def _with_pins(self, order: Tensor) -> Tensor:
        if self.pinned is None:
            return order
        is_free = (self.pinned < 0).long()
        return torch.where(
            self.pinned < 0,
            order.gather(1, (is_free.cumsum(1) - 1).clamp_min(0)),
            self.pinned,
        )

    @torch.no_grad()
    def sample(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw one slate a row.

        Returns:
            slates: (B, K).
            slot_log_probs: (B, K), without gradient; `slot_log_prob` has one.
        """
        if self.temperature == 0 and self.epsilon == 0:
            slates = self.mode()
            return slates, self.log_weights.new_zeros(slates.shape)
        if self.epsilon == 1:
            slates = self._with_pins(self._noise(generator).topk(self.slate_size, dim=1).indices)
        elif self.epsilon == 0:
            slates = self._with_pins(self._keys(generator).topk(self.slate_size, dim=1).indices)
        else:
            slates, preferred = self._draw(generator)
            if self.temperature == 0:
                return slates, self._mix_slots(certain(slates == preferred, self.log_weights))
        return slates, self._slot_log_prob(slates)

    def _draw(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Slates, and the item that each slot would have shown without exploring.

        One random order serves all slots: whatever has been shown, the next
        item of it (or of the Gumbel keys) has the stated distribution.
        """
        keys, noise = self._keys(generator), self._noise(generator)
        explore = self._uniform((len(self.mask), self.slate_size), generator) < self.epsilon
        slates: list[Tensor] = []
        preferred: list[Tensor] = []
        for slot in range(self.slate_size):
            if slates:
                keys.scatter_(1, slates[-1], -math.inf)
                noise.scatter_(1, slates[-1], -1.0)
            at = slice(slot, slot + 1)
            best = keys.argmax(dim=1, keepdim=True)
            pick = torch.where(explore[:, at], noise.argmax(dim=1, keepdim=True), best)
            if self.pinned is not None:
                pick = torch.where(self.pinned[:, at] < 0, pick, self.pinned[:, at])
            slates.append(pick)
            preferred.append(best)
        return torch.cat(slates, dim=1), torch.cat(preferred, dim=1)

    def _noise(self, generator: torch.Generator | None) -> Tensor:
        """(B, N): uniform in [1, 2) for free candidates, below 1 for all others."""
        return self._uniform(self.mask.shape, generator).add_(self.free)

    def _keys(self, generator: torch.Generator | None) -> Tensor:
        """(B, N), largest first: the optimiser's order or Gumbel-perturbed log-weights."""
        if self.temperature == 0:
            return -self._rank
        uniform = self._uniform(self.mask.shape, generator).clamp_min_(1e-9)
        keys = self._scores - uniform.log_().neg_().log_()
        return keys.masked_fill_(~self.free, -math.inf)

    def _uniform(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        return torch.rand(
            shape,
            generator=generator,
            dtype=self.log_weights.dtype,
            device=self.log_weights.device,
        )

    def log_prob(self, slates: Tensor) -> Tensor:
        """Log-probability of each ordered slate, (B,); -inf if impossible."""
        return self.slot_log_prob(slates).sum(1)

    def slot_log_prob(self, slates: Tensor) -> Tensor:
        """Log-probability of each slot's item given the earlier slots, (B, K).

        -inf from the first impossible slot on. Differentiable in the
        log-weights where the temperature is positive.

        Raises:
            ValueError: wrong shape, or a position that is no candidate.
        """
        _check_shape("slates", slates, (len(self.mask), self.slate_size))
        if slates.numel() and not 0 <= int(slates.min()) <= int(slates.max()) < self.mask.shape[1]:
            raise ValueError(f"slates hold positions outside 0 to {self.mask.shape[1] - 1}")
        repeated = repeats(slates)
        possible = self.free.gather(1, slates) & ~repeated
        if self.pinned is not None:
            possible = torch.where(self.pinned < 0, possible, slates == self.pinned)
        possible = possible.long().cumprod(1).bool()
        return torch.where(possible, self._slot_log_prob(slates, repeated), -math.inf)

    def _slot_log_prob(self, slates: Tensor, repeated: Tensor | None = None) -> Tensor:
        """As `slot_log_prob`, for slates that are possible but for repeated items."""
        if self.epsilon == 1:
            preferred = None
        elif self.temperature == 0:
            preferred = certain(follows(self._rank.gather(1, slates)), self.log_weights)
        else:
            scores = self._scores.masked_fill(~self.free, NEVER)
            preferred = plackett_luce_slots(scores, slates, repeated)
        return self._mix_slots(preferred)

    def _mix_slots(self, preferred: Tensor | None) -> Tensor:
        log_probs = self._mix(preferred, self.remaining)
        return log_probs if self.pinned is None else log_probs.masked_fill(self.pinned >= 0, 0.0)

    def _mix(self, preferred: Tensor | None, remaining: Tensor) -> Tensor:
        return mix(preferred, remaining, self.epsilon, self.log_weights.dtype)

    def conditional(self, taken: Tensor, slot: int) -> Tensor:
        """Log-probability of every candidate at a slot after some were shown.

        Args:
            taken: (B, P, N) or (1, P, N) bool: P sets of items in the earlier slots.
            slot: from 0 to K - 1.

        Returns:
            (B, P, N), -inf where impossible. A pinned slot is certain.
        """
        available = self.free[:, None] & ~taken
        if self.epsilon == 1:
            preferred = None
        elif self.temperature == 0:
            unavailable = self.slate_size + 1
            rank = self._rank[:, None].masked_fill(~available, unavailable)
            best = rank.argmin(2, keepdim=True)
            places = torch.arange(self.mask.shape[1], device=taken.device)
            preferred = certain(places == best, self.log_weights)
        else:
            scores = self._scores[:, None]
            preferred = scores.masked_fill(~available, NEVER).log_softmax(2)
        left = available.sum(2, keepdim=True).clamp_min(1)
        log_probs = self._mix(preferred, left).masked_fill(~available, -math.inf)
        if self.pinned is None:
            return log_probs
        pin = self.pinned[:, slot, None, None]
        places = torch.arange(self.mask.shape[1], device=pin.device)
        fixed = certain(places == pin, self.log_weights)
        return torch.where(pin < 0, log_probs, fixed)

    def marginals(self) -> Tensor:
        """Probability that a slot shows a candidate, (B, K, N); exact."""
        return slate_moments.marginals(self)

    def inclusion(self) -> Tensor:
        """Probability that the slate holds a candidate, (B, N); exact."""
        return self.marginals().sum(1)

    def pairwise(self) -> Tensor:
        """Probability of two candidates in two slots, (B, K, N, K, N); exact."""
        return slate_moments.pairwise(self)

    def entropy(self) -> Tensor:
        """Entropy of the ordered slate in nats, (B,); exact."""
        return slate_moments.entropy(self)

    def estimate_marginals(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Unbiased estimate of `marginals` from sampled slates, (B, K, N)."""
        return slate_moments.estimate_marginals(self, samples, generator)

    def estimate_entropy(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Unbiased estimate of `entropy` from sampled slates, (B,), without gradient."""
        return slate_moments.estimate_entropy(self, samples, generator)


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {expected}")


def _check_pins(pinned: Tensor, mask: Tensor) -> None:
    size = mask.shape[1]
    # Position -1, a free slot, is column 0, and whatever is out of range the last one.
    known = torch.nn.functional.pad(mask, (1, 1))
    known[:, 0] = True
    places = torch.where((pinned >= -1) & (pinned < size), pinned + 1, size + 1)
    wrong = ~known.gather(1, places)
    ordered = pinned.sort(1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != -1)).any(1)
    if not bool(wrong.any() | twice.any()):
        return
    row = int((wrong.any(1) | twice).int().argmax())
    if twice[row]:
        items = [pin for pin in pinned[row].tolist() if pin != -1]
        raise ValueError(f"row {row} pins {items}, one position twice; pin each once")
    item = int(pinned[row, int(wrong[row].int().argmax())])
    raise ValueError(f"row {row} pins position {item}, which is not eligible")


def uniform(mask: Tensor, slate_size: int) -> SlateDistribution:
    """Every ordered slate of eligible candidates alike."""
    weights = torch.zeros(mask.shape, device=mask.device)
    return SlateDistribution(weights, mask, slate_size, epsilon=1.0)


def epsilon_greedy(slates: Tensor, mask: Tensor, epsilon: float = 0.0) -> SlateDistribution:
    """The optimiser's slates, (B, K), each slot uniform with probability epsilon.

    The log-weights rank the slate's items, so that with epsilon and temperature
    they state the distribution alone.
    """
    size = slates.shape[1]
    ranking = torch.arange(size, 0, -1, dtype=torch.float32, device=mask.device)
    weights = torch.zeros(mask.shape, device=mask.device)
    weights.scatter_(1, slates, ranking.expand(len(mask), -1))
    return SlateDistribution(weights, mask, size, epsilon, temperature=0.0, greedy=slates)


def plackett_luce(
    log_weights: Tensor,
    mask: Tensor,
    slate_size: int,
    *,
    temperature: float = 1.0,
    epsilon: float = 0.0,
) -> SlateDistribution:
    """Softmax of log-weights without replacement, mixed with uniform items."""
    return SlateDistribution(log_weights, mask, slate_size, epsilon, temperature)
