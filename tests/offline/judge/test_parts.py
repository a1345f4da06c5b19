"""The pieces that bindings are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from algorithms.core.slates import plackett_luce, uniform
from envs.simulator import Observation
from envs.spec import FeatureSpec, identifier, number, vector
from offline.judge import binding, slates
from offline.judge.binding import Wanted, bind
from offline.judge.features import ITEM, STATE, Inputs, is_small, joined, narrow
from offline.judge.report import Rows
from offline.judge.sampling import Sample
from offline.judge.slots import mean_slot_inputs, slot_inputs
from offline.judge.target import target_of
from tests.offline.judge.made import HEADER, by_score, logged, made

LN2, LN3 = np.log([2, 3])


def test_a_sample_is_even_and_bounded() -> None:
    sample, most = Sample(500), 0
    for first in range(0, 100_000, 1000):
        index, keys = sample.choose(1000)
        sample.add(keys, first + index)
        most = max(most, len(sample.columns()[0]))
    (kept,) = sample.columns()
    assert 500 <= len(kept) <= 1000 and most <= 1000
    assert sample.threshold == 2**-7
    # Of 100 blocks each has about 1 % of the rows: at most 1 in 40,000 lies further away.
    assert_allclose(np.histogram(kept, 10, (0, 100_000))[0], len(kept) / 10, atol=40)


def test_small_streams_are_kept_whole_and_widened() -> None:
    sample = Sample(10)
    for width in (2, 3):
        index, keys = sample.choose(4)
        sample.add(keys, np.ones((4, width))[index], index)
    wide, index = sample.columns()
    assert index.tolist() == [0, 1, 2, 3] * 2
    assert np.isnan(wide).tolist() == [[False, False, True]] * 4 + [[False] * 3] * 4


def seen(spec: FeatureSpec, users: int = 4, candidates: int = 3) -> Observation:
    return Observation(
        torch.ones(users, spec.user_size),
        torch.arange(users * candidates * spec.candidate_size, dtype=torch.float32).reshape(
            users, candidates, -1
        ),
        torch.ones(users, candidates, dtype=torch.bool),
        torch.zeros(users, 1, spec.response_size),
        torch.zeros(users, 1),
        torch.zeros(users, 0),
    )


def test_ids_are_no_numbers_and_appeal_is_one() -> None:
    spec = FeatureSpec(
        user=(identifier("who", 9), vector("taste", 2)),
        candidate=(vector("topic", 2), identifier("what", 9)),
        response=(number("click"),),
        appeal=("taste", "topic"),
    )
    inputs, observed = Inputs(spec), seen(spec)
    assert inputs.state(observed, torch.zeros(4, dtype=torch.int64)).shape == (4, 2 + 1 + 2)
    # The first candidate's topic is (0, 1), the second one's (3, 4), the tastes are 1.
    assert inputs.items(observed)[0].tolist() == [[0, 1, 1], [3, 4, 7], [6, 7, 13]]
    masked = observed._replace(mask=torch.tensor([[True, False, True]] * 4))
    assert inputs.items(masked)[0, 1].tolist() == [0, 0, 0]


def test_many_columns_become_few_and_always_the_same() -> None:
    spec = FeatureSpec(
        user=(vector("a", 100),), candidate=(vector("b", 90),), response=(number("click"),)
    )
    inputs, observed = Inputs(spec), seen(spec)
    step = torch.zeros(4, dtype=torch.int64)
    state, items = inputs.state(observed, step), inputs.items(observed)
    assert state.shape == (4, STATE) and items.shape == (4, 3, ITEM)
    assert torch.equal(Inputs(spec).state(observed, step), state)
    # No products: they would be too many.
    assert joined(state, items.sum(1)).shape == (4, STATE + ITEM)
    few = narrow(items)
    assert few.shape == (4, 3, 8) and torch.equal(few[..., -1], items[..., -1])


def test_what_is_small_enough_to_enumerate() -> None:
    mask = torch.ones((1, 40), dtype=torch.bool)
    assert is_small(uniform(mask, 3))
    assert is_small(plackett_luce(torch.zeros(1, 40), mask, 1))
    assert is_small(plackett_luce(torch.zeros(1, 40), mask, 2))  # 1,560
    assert not is_small(plackett_luce(torch.zeros(1, 40), mask, 2), 200)
    assert not is_small(plackett_luce(torch.zeros(1, 40), mask, 3))
    assert is_small(plackett_luce(torch.zeros(1, 40), mask, 3, temperature=0.0))


def test_slots_by_hand() -> None:
    # One feature: 0, ln 2, ln 3; c then a are shown, by a policy with weights 1, 2, 3.
    items = torch.tensor([[[0.0], [LN2], [LN3]]], dtype=torch.float64)
    shown = torch.tensor([[2, 0]])
    # The slot, then the item's feature at its slot, then the sum of those before.
    found = slot_inputs(items.float(), shown)[0]
    assert_allclose(found, [[1, 0, LN3, 0, 0], [0, 1, 0, 0, LN3]], rtol=1e-6)
    target = plackett_luce(items[:, :, 0], torch.ones((1, 3), dtype=torch.bool), 2)
    means = mean_slot_inputs(items.float(), shown, target)[0]
    first, second = (2 * LN2 + 3 * LN3) / 6, 2 * LN2 / 3  # c is taken: a or b
    assert_allclose(means, [[1, 0, first, 0, 0], [0, 1, 0, second, LN3]], rtol=1e-6)


def test_costly_weights_only_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logged(tmp_path, made([1] * 4, [[2, 1]] * 4))
    target = target_of(by_score(2), log.header)
    assert "pseudo_inverse" in bind(log, [target]).targets[0].slates
    monkeypatch.setattr(slates, "FEW", 3)
    bound = bind(log, [target])
    assert "pseudo_inverse" not in bound.targets[0].slates
    assert "more than 3 rows" in bound.lacking["pseudo_inverse"]
    asked = bind(log, [target], Wanted(inverse=True))
    assert asked.targets[0].slates["pseudo_inverse"].shape == (4,)


def test_only_what_is_wanted_is_collected(tmp_path: Path) -> None:
    log = logged(tmp_path, made([1], [[2, 1]]))
    bound = bind(log, [target_of(by_score(2), log.header)], Wanted(models=False, slates=False))
    assert bound.inputs is None and bound.targets[0].means is None
    assert not bound.slates and not bound.lacking


def test_large_batches_are_taken_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A session of 500 rows is longer than a part of 256; 3 and 2 rows stand beside it.
    monkeypatch.setattr(binding, "_CANDIDATES", 1)
    rows = made([3, 500, 2], [[n % 3] for n in range(505)])
    log = logged(tmp_path, rows)
    bound = bind(log, [target_of(by_score(1), HEADER)])
    assert bound.offsets.tolist() == [0, 3, 503, 505]
    expected = np.tile([1 / 6, 2 / 6, 3 / 6], 169)[:505]
    assert_allclose(np.exp(bound.targets[0].slots[:, 0]), expected, rtol=1e-6)


def test_progress_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Rows()
    for rows in (400_000, 1_100_000, 1_200_000, 2_000_000):
        progress(rows)
    progress.end()
    out, err = capsys.readouterr()
    assert out == "" and err == "1,100,000 rows\n2,000,000 rows\n"
