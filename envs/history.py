"""What an agent may remember of a session.

A fixed-size state updated by h' = decay * h + gain * x, where x are numbers
read off one step: what was shown and what came back. The recursion is linear
in x, independent of the policy that uses it, and versioned, so training,
evaluation, logs and the server all compute the same thing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from envs.constants import Constant
from envs.spec import FeatureSpec

HISTORY_CODE_VERSION = 1
_TRANSFORMS = {"log1p": torch.log1p}


@dataclass(frozen=True)
class Term:
    """One thing to remember.

    Attributes:
        what: a product, written `a*b`, of: `time` (time passed), `no_click`
            (1 where nothing was clicked), a response feature of the clicked
            document, `item` or a candidate feature of the clicked document,
            each optionally as `log1p(...)`. At most one factor may have
            several columns.
        keep: `sum`, `last`, or a number in (0, 1): a trace decayed by it a
            unit of time.
        scale: factor that brings the result to about 1.
    """

    what: str
    keep: str | float = "sum"
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an unknown way of keeping."""
        if isinstance(self.keep, str) and self.keep not in ("sum", "last"):
            raise ValueError(
                f"history term '{self.what}' is kept as '{self.keep}'; "
                "allowed are 'sum', 'last' and a decay between 0 and 1"
            )
        if not isinstance(self.keep, str) and not 0 < self.keep < 1:
            raise ValueError(
                f"history term '{self.what}' decays by {self.keep}; the decay lies between 0 and 1"
            )

    @property
    def decay(self) -> float:
        """What one unit of time leaves of the old value."""
        return {"sum": 1.0, "last": 0.0}[self.keep] if isinstance(self.keep, str) else self.keep


@dataclass(frozen=True)
class History:
    """The history state of one feature spec and list of terms."""

    spec: FeatureSpec
    terms: tuple[Term, ...]
    _decay: Constant = field(init=False, repr=False, compare=False)
    _gain: Constant = field(init=False, repr=False, compare=False)
    _only_sums: bool = field(init=False, repr=False, compare=False)
    _click: slice = field(init=False, repr=False, compare=False)
    _factors: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)
    _columns: dict[str, tuple[bool, slice]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay out the columns, which also checks every term's name."""
        factors = tuple(tuple(f.strip() for f in term.what.split("*")) for term in self.terms)
        # A name that both have means the response.
        columns = {f.name: (True, self.spec.candidate_slice(f.name)) for f in self.spec.candidate}
        for feature in self.spec.response:
            columns[feature.name] = (False, self.spec.response_slice(feature.name))
        columns["item"] = (True, slice(0, self.spec.candidate_size))
        object.__setattr__(self, "_click", self.spec.response_slice("click"))
        object.__setattr__(self, "_factors", factors)
        object.__setattr__(self, "_columns", columns)
        sizes = [self._width(term) for term in self.terms]
        decay = [
            term.decay for term, size in zip(self.terms, sizes, strict=True) for _ in range(size)
        ]
        gain = [
            term.scale for term, size in zip(self.terms, sizes, strict=True) for _ in range(size)
        ]
        object.__setattr__(self, "_decay", Constant(decay))
        object.__setattr__(self, "_gain", Constant(gain))
        object.__setattr__(self, "_only_sums", all(value == 1.0 for value in decay))

    @property
    def size(self) -> int:
        """H, the number of columns of the state."""
        return len(self._decay.exact)

    @property
    def version(self) -> str:
        """Changes whenever the state's meaning does."""
        content = json.dumps([HISTORY_CODE_VERSION, self.to_json(), self.spec.to_json()])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def to_json(self) -> list[dict[str, Any]]:
        """The terms as plain data."""
        return [{"what": t.what, "keep": t.keep, "scale": t.scale} for t in self.terms]

    @classmethod
    def from_json(cls, spec: FeatureSpec, terms: Sequence[Mapping[str, Any]]) -> History:
        """The inverse of `to_json`."""
        return cls(spec, tuple(Term(**term) for term in terms))

    def initial(self, batch: int, like: Tensor | None = None) -> Tensor:
        """The state before anything was shown, (B, H); dtype and device as `like`."""
        reference = torch.zeros(()) if like is None else like
        return reference.new_zeros((batch, self.size))

    def update(
        self,
        state: Tensor,
        shown: Tensor,
        response: Tensor,
        elapsed: Tensor | float = 1.0,
        slates: Tensor | None = None,
    ) -> Tensor:
        """The state after one more step.

        Args:
            state: (B, H).
            shown: features of the shown documents, (B, K, D), or of all
                candidates, (B, N, D), if `slates` says which were shown.
            response: what came back, (B, K, R).
            elapsed: time passed since the last step, (B,) or one number.
            slates: positions in `shown`, (B, K).

        Returns:
            (B, H).
        """
        if not self.terms:
            return state
        x, gain = self._inputs(shown, response, elapsed, slates), self._gain.like(state)
        if not self._only_sums:
            decay = self._decay.like(state)
            if isinstance(elapsed, Tensor):
                decay = decay ** elapsed[:, None]
            elif elapsed != 1.0:
                decay = decay**elapsed
            state = state * decay
        return torch.addcmul(state, x, gain)

    def replay(self, shown: Tensor, response: Tensor, elapsed: Tensor | None = None) -> Tensor:
        """The states of whole sessions, before each step and after the last.

        Args:
            shown: (T, B, K, D).
            response: (T, B, K, R).
            elapsed: (T, B), one unit a step if not given.

        Returns:
            (T + 1, B, H); row t is the state that step t acted on.
        """
        steps, batch = response.shape[:2]
        passed = response.new_ones((steps, batch)) if elapsed is None else elapsed
        x = self._inputs(shown.flatten(0, 1), response.flatten(0, 1), passed.flatten())
        decay = self._decay.like(response)
        x = (x * self._gain.like(response)).view(steps, batch, -1)
        # Dividing by the decay since the start turns the recursion into one
        # cumulative sum, but underflows on long sessions; a loop over time
        # with whole rows of users is as fast and exact.
        states = [self.initial(batch, response)]
        for t in range(steps):
            states.append(states[-1] * decay ** passed[t][:, None] + x[t])
        return torch.stack(states)

    def _inputs(
        self,
        shown: Tensor,
        response: Tensor,
        elapsed: Tensor | float,
        slates: Tensor | None = None,
    ) -> Tensor:
        click = response[..., self._click].squeeze(-1).contiguous()
        slots = torch.arange(click.shape[1], device=click.device)
        step = _Step(
            click,
            _weighted_sum(click, shown, slots if slates is None else slates),
            response,
            elapsed,
        )
        read: dict[str, Tensor] = {}
        columns = []
        for names in self._factors:
            for name in names:
                if name not in read:
                    read[name] = self._factor(name, step)
            columns.append(math.prod((read[name] for name in names[1:]), start=read[names[0]]))
        return torch.cat(columns, dim=1) if columns else step.item[:, :0]

    def _factor(self, name: str, step: _Step) -> Tensor:
        if name in self._columns:
            of_item, columns = self._columns[name]
            return step.item[:, columns] if of_item else step.answer(columns)
        if name == "time":
            elapsed = step.elapsed
            passed = elapsed[:, None] if isinstance(elapsed, Tensor) else elapsed
            return step.click.new_ones((len(step.click), 1)) * passed
        if name == "no_click":
            return (1 - _sum_slots(step.click)).clamp(min=0)
        transform, inner = name[:-1].split("(", 1)
        return _TRANSFORMS[transform](self._factor(inner, step))

    def _width(self, term: Term) -> int:
        widths = [self._factor_width(f.strip(), term) for f in term.what.split("*")]
        if sum(width > 1 for width in widths) > 1:
            raise ValueError(
                f"history term '{term.what}' multiplies two features of several columns; "
                "at most one factor may have more than one"
            )
        return max(widths)

    def _factor_width(self, name: str, term: Term) -> int:
        if name.endswith(")") and "(" in name:
            transform, inner = name[:-1].split("(", 1)
            if transform not in _TRANSFORMS:
                raise ValueError(
                    f"history term '{term.what}' uses '{transform}'; "
                    f"known functions are: {', '.join(_TRANSFORMS)}"
                )
            return self._factor_width(inner, term)
        if name in ("time", "no_click"):
            return 1
        if name not in self._columns:
            allowed = ", ".join(["time", "no_click", *self._columns])
            raise ValueError(
                f"history term '{term.what}' names '{name}', which is none of: {allowed}"
            )
        columns = self._columns[name][1]
        return int(columns.stop - columns.start)


class _Step(NamedTuple):
    """One step as the terms read it: clicks (B, K), clicked item (B, D), response (B, K, R)."""

    click: Tensor
    item: Tensor
    response: Tensor
    elapsed: Tensor | float

    def answer(self, columns: slice) -> Tensor:
        """Columns of the response to the clicked document."""
        if columns.stop - columns.start == 1:
            return _sum_slots(self.click * self.response[..., columns.start])
        slots = torch.arange(self.click.shape[1], device=self.click.device)
        return _weighted_sum(self.click, self.response[..., columns], slots)


def _sum_slots(values: Tensor) -> Tensor:
    """(B, K) summed over slots, (B, 1); a product with ones is faster than a sum."""
    return values @ values.new_ones((values.shape[1], 1))


def _weighted_sum(weights: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Rows (B, M, C) at positions (B, K) or (K,), times weights (B, K), summed: (B, C)."""
    batch, width = rows.shape[:2]
    first = torch.arange(0, batch * width, width, device=rows.device)[:, None]
    return torch.nn.functional.embedding_bag(
        first + positions, rows.flatten(0, 1), per_sample_weights=weights, mode="sum"
    )
