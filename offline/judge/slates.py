"""Collects the columns of the estimators of slates, while every session has one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from offline.judge.features import Inputs, is_small, narrow
from offline.judge.slots import (
    Split,
    in_double,
    marginal_logs,
    mean_slot_inputs,
    pseudo_inverse,
    slot_inputs,
    some,
)
from offline.judge.target import Acting
from offline.log import Rows
from offline.log.rows import Array
from offline.observed import distributions
from offline.ope import Refusal

FEW = 5000
"""Rows up to which the weights of `pi` are computed unasked: a matrix is inverted for each."""

_MARGINALS, _INVERSE = ("behaviour_marginals", "target_marginals"), ("pseudo_inverse",)
_REWARDS, _MODELS = ("slot_reward",), ("slot_q", "slot_v")


class SlateColumns:
    """Collects, batch by batch, what the estimators of slates need.

    What cannot be had is left out, with a sentence why.
    """

    def __init__(self, targets: int, inputs: Inputs, inverse: bool) -> None:
        """Begin with nothing."""
        self._targets, self._inverse = targets, inverse
        self._split = Split(inputs.spec)
        self._size: int | None = None
        self._rows = 0
        self._common: dict[str, list[Array]] = {}
        self._apart: list[dict[str, list[Array]]] = [{} for _ in range(targets)]
        self._lacking: dict[str, str] = {}

    def add(self, rows: Rows, items: Tensor, acting: Sequence[Acting]) -> None:
        """Take rows of whole sessions, features of their candidates, and targets."""
        if self._stopped(rows):
            return
        self._rows += len(rows)
        self._split.add(rows["reward"], rows["response"])
        self._models(rows, narrow(items), acting)
        if np.isnan(rows["epsilon"]).any():
            self._leave_out(
                "the rows were logged without the distribution that their slates come from",
                (*_MARGINALS, *_INVERSE),
            )
        if self._rows > FEW and not self._inverse:
            self._leave_out(
                f"its weights need the inverse of a matrix for each of more than {FEW:,} rows; "
                "name it in --estimators to have them computed",
                _INVERSE,
            )
        if "behaviour_marginals" not in self._lacking:
            self._marginals(rows, acting)

    def _stopped(self, rows: Rows) -> bool:
        """Whether these rows, or earlier ones, are no slates of one size and one step."""
        sizes = np.unique((rows["slate"] >= 0).sum(axis=1))
        self._size = self._size or int(sizes[0])
        everything = (*_MARGINALS, *_INVERSE, *_REWARDS, *_MODELS)
        if (rows["step"] > 0).any():
            self._leave_out("the log has sessions of several steps", everything)
        elif sizes.tolist() != [self._size]:
            self._leave_out("the log's slates have several sizes", everything)
        return "slot_q" in self._lacking

    def _leave_out(self, reason: str, names: tuple[str, ...]) -> None:
        for name in names:
            self._lacking.setdefault(name, reason)
            for columns in (self._common, *self._apart):
                columns.pop(name, None)

    def _models(self, rows: Rows, items: Tensor, acting: Sequence[Acting]) -> None:
        slates = torch.from_numpy(rows["slate"])
        self._put(self._common, "slot_inputs", slot_inputs(items, slates).numpy())
        for columns, ((_, wanted),) in zip(self._apart, acting, strict=True):
            means = mean_slot_inputs(items, slates, wanted)
            self._put(columns, "mean_slot_inputs", means.numpy())

    def _marginals(self, rows: Rows, acting: Sequence[Acting]) -> None:
        """Marginals of log and targets; all rows have one size, so targets have one part."""
        wanted = [each for ((_, each),) in acting]
        logged = [(index, in_double(each)) for index, each in distributions(rows)]
        if not all(is_small(each) for each in (*wanted, *(each for _, each in logged))):
            self._leave_out(
                "the slates of this log are too many to enumerate, so their marginals are not "
                "known exactly",
                (*_MARGINALS, *_INVERSE),
            )
            return
        slates = torch.from_numpy(rows["slate"])
        behaviour = np.empty(rows["slate"].shape)
        for index, each in logged:
            behaviour[index] = marginal_logs(each, slates[index]).numpy()
        self._put(self._common, "behaviour_marginals", behaviour)
        for number, each in enumerate(wanted):
            self._put(self._apart[number], "target_marginals", marginal_logs(each, slates).numpy())
        if "pseudo_inverse" not in self._lacking:
            self._inverses(rows, logged, wanted)

    def _inverses(
        self,
        rows: Rows,
        logged: list[tuple[Array, SlateDistribution]],
        wanted: list[SlateDistribution],
    ) -> None:
        slates = torch.from_numpy(rows["slate"])
        for number, target in enumerate(wanted):
            weights = np.empty(len(rows))
            try:
                for index, behaviour in logged:
                    part = some(target, index)
                    weights[index] = pseudo_inverse(behaviour, part, slates[index])
            except Refusal as refusal:
                self._leave_out(str(refusal), _INVERSE)
                return
            self._put(self._apart[number], "pseudo_inverse", weights)

    @staticmethod
    def _put(columns: dict[str, list[Array]], name: str, values: Array) -> None:
        columns.setdefault(name, []).append(values)

    def result(self) -> tuple[dict[str, Array], list[dict[str, Array]], dict[str, str]]:
        """Columns of the log, of each target, and why others are missing."""
        if "slot_q" in self._lacking:
            return {}, [{} for _ in range(self._targets)], self._lacking
        rewards = self._split.slot_rewards()
        common = {name: np.concatenate(parts) for name, parts in self._common.items()}
        if rewards is None:
            self._leave_out(
                "no column of the response adds up to the reward over the slots, so it is not "
                "known which slot brought it",
                (*_REWARDS, *_MODELS),
            )
        else:
            common["slot_reward"] = rewards
        apart = [
            {name: np.concatenate(parts) for name, parts in columns.items()}
            for columns in self._apart
        ]
        return common, apart, self._lacking
