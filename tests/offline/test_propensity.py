"""Estimated propensities: close to the true ones where the model can be right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from algorithms.core.slates import SlateDistribution
from envs.spec import FeatureSpec, identifier, number, vector
from offline.log import COLUMNS, Header, LogWriter, Rows, concatenate, open_log
from offline.observed import distributions
from offline.propensities.calibration import Calibration
from offline.propensities.estimating import Settings, estimate, fold_of
from offline.propensities.model import Inputs, conditionals, fit, slot_log_probs
from offline.propensity import app
from offline.tables import app as tables

SPEC = FeatureSpec(
    user=(vector("taste", 3),),
    candidate=(vector("topic", 3), identifier("shop", 4)),
    response=(number("click", 0.0, 1.0),),
)
HEADER = Header(SPEC, None, reward="click")
NAMES = tuple(COLUMNS)


def made(
    sessions: int = 2000,
    slots: int = 2,
    temperature: float = 1.0,
    epsilon: float = 0.0,
    seed: int = 0,
) -> tuple[Rows, Tensor]:
    """Rows of sessions of two steps without propensities, and their true slot propensities."""
    generator = torch.Generator().manual_seed(seed)
    rows, offered = 2 * sessions, 6
    user = torch.randn((rows, 3), generator=generator)
    topic = torch.randn((rows, offered, 3), generator=generator)
    shop = torch.randint(-1, 5, (rows, offered), generator=generator).clamp(max=4 - 1)
    scores = (topic @ user[:, :, None]).squeeze(2) + 0.5 * topic[..., 0]
    scores = scores + torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0])[shop + 1]
    mask = torch.rand((rows, offered), generator=generator) < 0.9
    mask[:, :3] = True
    chosen = SlateDistribution(scores, mask, slots, epsilon, temperature)
    slate, _ = chosen.sample(generator)
    ids = np.array([[f"i{n}" for n in range(offered)]] * rows, object)
    session = np.repeat([f"s{seed}-{n}" for n in range(sessions)], 2).astype(object)
    words = {"user_id": "", "catalogue": "", "propensity_source": "none", "policy": "shop"}
    words |= {"policy_version": "", "arm": ""}
    step = np.tile([0, 1], sessions)
    columns: dict[str, Any] = {
        "session_id": session,
        "step": step,
        "time": step.astype(float),
        "impression_id": np.array([f"{a}-{b}" for a, b in zip(session, step, strict=True)], object),
        "user": user.numpy(),
        "candidate_ids": ids,
        "candidates": torch.cat([topic, shop[..., None]], dim=2).numpy(),
        "mask": mask.numpy(),
        "pinned": np.full((rows, slots), -1),
        "history": np.zeros((rows, 0), np.float32),
        "slate": slate.numpy(),
        "slate_ids": np.take_along_axis(ids, slate.numpy(), axis=1),
        "log_propensity": np.full(rows, np.nan, np.float32),
        "slot_log_propensities": np.full((rows, slots), np.nan, np.float32),
        "log_weights": np.full((rows, offered), np.nan, np.float32),
        "epsilon": np.full(rows, np.nan),
        "temperature": np.full(rows, np.nan),
        "greedy": np.full((rows, slots), -1),
        "response": np.zeros((rows, slots, 1), np.float32),
        "reward": np.zeros(rows, np.float32),
        "terminated": step == 1,
        "truncated": np.zeros(rows, np.bool_),
        **{name: np.full(rows, word, object) for name, word in words.items()},
    }
    return Rows(columns), chosen.slot_log_prob(slate)


def write(folder: Path, *parts: Rows, format: str = "json") -> Path:
    with LogWriter(folder, HEADER, format=format) as writer:
        for part in parts:
            writer.write(part)
    return folder


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).batches(columns=NAMES)))


@pytest.mark.parametrize("slots", [1, 3])
def test_a_softmax_policy_is_found(tmp_path: Path, slots: int) -> None:
    rows, truth = made(slots=slots)
    report = estimate(open_log(write(tmp_path / "log", rows)), tmp_path / "out", Settings())
    found = read(tmp_path / "out")
    off = np.abs(found["slot_log_propensities"] - truth.numpy())
    # 4,000 rows, 20 coefficients: deviations of about sqrt(20 / 4000) in the log-weights.
    assert off.mean() < 0.1
    uniform = np.log(1.0 / rows["mask"].sum(axis=1))
    assert np.abs(uniform - truth.numpy()[:, 0]).mean() > 0.5  # what knowing nothing is off by
    assert abs(report.log_likelihood - float(truth.sum(1).mean())) < 0.03
    assert report.uniform < report.log_likelihood - 0.3
    assert report.calibration.error < 3 * report.calibration.chance


def test_what_is_written_states_the_distribution(tmp_path: Path) -> None:
    rows, _ = made(sessions=200)
    estimate(open_log(write(tmp_path / "log", rows)), tmp_path / "out", Settings())
    found = read(tmp_path / "out")
    assert set(found["propensity_source"]) == {"estimated"}
    ((index, stated),) = distributions(found)
    slots = stated.slot_log_prob(torch.from_numpy(found["slate"][index])).numpy()
    assert np.allclose(slots, found["slot_log_propensities"][index], atol=1e-5)
    assert np.allclose(slots.sum(axis=1), found["log_propensity"][index], atol=1e-5)
    for name in ("candidates", "slate", "mask", "session_id", "user"):
        assert (found[name] == rows[name]).all()


def test_a_model_that_cannot_be_right_is_worse_and_worse_calibrated(tmp_path: Path) -> None:
    """The policy follows the best score half of the time, which no softmax does."""
    rows, truth = made(temperature=0.0, epsilon=0.5, slots=1)
    right, _ = made(slots=1)
    found = estimate(open_log(write(tmp_path / "a", rows)), tmp_path / "a out", Settings())
    fair = estimate(open_log(write(tmp_path / "b", right)), tmp_path / "b out", Settings())
    assert found.calibration.error > 4 * found.calibration.chance
    assert found.calibration.error > 2 * fair.calibration.error
    assert found.log_likelihood < float(truth.sum(1).mean()) - 0.05


def test_context_is_what_the_policy_may_have_seen(tmp_path: Path) -> None:
    rows, truth = made(slots=1)
    log = open_log(write(tmp_path / "log", rows))
    seen = estimate(log, tmp_path / "seen", Settings(context="user"))
    blind = estimate(log, tmp_path / "blind", Settings(context="none"))
    assert blind.log_likelihood < seen.log_likelihood - 0.2
    assert abs(seen.log_likelihood - float(truth.sum(1).mean())) < 0.03


def test_nobody_is_judged_by_a_model_of_their_own(tmp_path: Path) -> None:
    rows, _ = made(sessions=100)
    first = fold_of(rows["session_id"], 3) == 0
    other = rows["slate"].copy()
    other[first] = other[first][:, ::-1]  # what these sessions showed, the other way round
    ids = np.take_along_axis(rows["candidate_ids"], other, axis=1)
    changed = rows.replace(slate=other, slate_ids=ids)
    estimate(open_log(write(tmp_path / "a", rows)), tmp_path / "a out", Settings(folds=3))
    estimate(open_log(write(tmp_path / "b", changed)), tmp_path / "b out", Settings(folds=3))
    before, after = (read(tmp_path / f"{n} out")["log_weights"] for n in "ab")
    assert (before[first] == after[first]).all()
    assert not np.allclose(before[~first], after[~first])


def test_options_change_the_estimates(tmp_path: Path) -> None:
    rows, _ = made(sessions=150)
    log = open_log(write(tmp_path / "log", rows))
    usual = estimate(log, tmp_path / "usual", Settings())
    few = estimate(log, tmp_path / "few", Settings(rows=100))
    held = estimate(log, tmp_path / "held", Settings(ridge=1e6))
    assert usual.fitted == 300 and 0 < few.fitted <= 100
    assert held.log_likelihood == pytest.approx(held.uniform, abs=1e-2)
    assert few.log_likelihood != usual.log_likelihood
    assert estimate(log, tmp_path / "two", Settings(folds=2)).log_likelihood != usual.log_likelihood


def test_slots_and_pins_by_hand() -> None:
    # Weights 1, 2, 3, 4; candidate 3 pinned to the second slot, candidate 0 not eligible.
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log()
    mask = torch.tensor([[False, True, True, True]])
    slates, pinned = torch.tensor([[2, 3, 1]]), torch.tensor([[-1, 3, -1]])
    inputs = Inputs(
        torch.zeros(1, 4, 0), torch.zeros(1, 4, 0).long(), torch.zeros(1, 0), mask, slates, pinned
    )
    # 3 of 2 + 3; certain; the only one left.
    found = slot_log_probs(scores, inputs).exp()[0].tolist()
    assert found == pytest.approx([0.6, 1.0, 1.0])
    pairs = [(p.tolist(), s.tolist()) for p, s in conditionals(scores, inputs)]
    assert pairs[0][0] == pytest.approx([0.4, 0.6]) and pairs[0][1] == [False, True]
    assert pairs[1] == pairs[2] == ([], [])  # no choice there


def test_one_number_by_hand() -> None:
    """Two candidates with feature 1 and 0, the first shown 3 times of 4: weight log 3."""
    items = torch.tensor([[[1.0], [0.0]]]).repeat(4, 1, 1)
    slates = torch.tensor([[0], [0], [0], [1]])
    inputs = Inputs(
        items,
        torch.zeros(4, 2, 0).long(),
        torch.zeros(4, 0),
        torch.ones(4, 2).bool(),
        slates,
        slates * 0 - 1,
    )
    assert fit(inputs, (), ridge=0.0).weights.tolist() == pytest.approx([np.log(3)], abs=1e-3)


def test_calibration_by_hand() -> None:
    found = Calibration(np.array([0.5]))
    found.add(np.array([0.2, 0.4, 0.9, 0.7]), np.array([False, True, True, True]))
    # Bins: 0.3 against 0.5, and 0.8 against 1; both off by 0.2.
    assert found.rows == [(2, pytest.approx(0.3), 0.5), (2, pytest.approx(0.8), 1.0)]
    assert found.error == pytest.approx(0.2)
    # Each bin: sqrt(2 / pi * p (1 - p) / 2), half of the candidates in each.
    expected = (np.sqrt(2 / np.pi * 0.3 * 0.7 / 2) + np.sqrt(2 / np.pi * 0.8 * 0.2 / 2)) / 2
    assert found.chance == pytest.approx(expected)


def test_rows_of_different_sizes_and_parquet(tmp_path: Path) -> None:
    three, _ = made(sessions=60, slots=3)
    one, _ = made(sessions=60, slots=1, seed=1)
    log = write(tmp_path / "log", three, one, format="parquet")
    found = run(log, "--out", tmp_path / "out", "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["rows"] == 240
    # Each row has 6 candidates or fewer a slot; the bins hold all of them.
    assert sum(one["candidates"] for one in report["calibration"]) > 240 * 4
    rows = read(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 1
    assert ((rows["slate"] >= 0) == ~np.isnan(rows["slot_log_propensities"])).sum() >= 480
    assert np.isfinite(rows["log_propensity"]).all()


def test_the_command_reports_as_text(tmp_path: Path) -> None:
    log = write(tmp_path / "log", made(sessions=50)[0])
    found = run(log, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "expected calibration error" in found.stdout
    assert (
        found.stdout.splitlines()[-1] == f"{tmp_path / 'out'}: 100 rows with estimated propensities"
    )


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    rows, _ = made(sessions=20)
    log = write(tmp_path / "log", rows)
    known = rows.replace(
        propensity_source=np.full(40, "exact", object),
        log_propensity=np.full(40, -2.0, np.float32),
        slot_log_propensities=np.full((40, 2), -1.0, np.float32),
    )
    lone = rows.take(slice(0, 2))
    sampled = CliRunner().invoke(
        tables, ["--synthetic", "--synthetic-users", "3", "--out", str(tmp_path / "own")]
    )
    assert sampled.exit_code == 0
    cases = [
        (run(write(tmp_path / "exact", known), "--out", tmp_path / "a"), "has exact propensities"),
        (
            run(write(tmp_path / "lone", lone), "--out", tmp_path / "a"),
            "too few sessions for 5 folds",
        ),
        (run(tmp_path / "own", "--out", tmp_path / "a"), "nobody was offered them"),
        (run(log, "--out", tmp_path / "a", "--folds", 1), "folds is 1; cross-fitting needs"),
        (run(log, "--out", tmp_path / "a", "--context", "all"), "context is 'all'; allowed are"),
        (run(log, "--out", tmp_path / "a", "--ridge", -1), "ridge is -1"),
        (run(log, "--out", log), "is there already"),
        (run(log, "--out", log / "in"), "lies within the log"),
        (run(tmp_path / "none", "--out", tmp_path / "a"), "is no folder, file or pattern"),
    ]
    for found, sentence in cases:
        assert found.exit_code == 2 and sentence in found.stderr, found.output
        assert found.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()
