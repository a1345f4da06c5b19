"""Parts of a cycle: decisions, comparisons, guards, arms, files and settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algorithms.layers import ConfigError
from algorithms.policy import Policy, baseline
from envs.registry import make_simulator
from offline.judge.target import Target, target_of
from offline.learning.data import held_out
from offline.log import Header, Log, Rows, open_log
from serve.cycling.comparing import Sample, compare, samples_of, welch
from serve.cycling.deciding import (
    Compared,
    Difference,
    Guard,
    Judged,
    decide,
    decide_canary,
    level_of,
)
from serve.cycling.guarding import Offered, Shown, distances, guards
from serve.cycling.judging import SomeSessions, held_out_of
from serve.cycling.keeping import (
    Canary,
    CycleError,
    Memory,
    alone,
    folder_of,
    forget,
    memory_of,
    next_number,
    write,
)
from serve.cycling.settings import CanarySection, CycleSettings, JudgeSection, load_settings
from serve.cycling.standing import arms_after, settled, standing, tag_of
from serve.cycling.training import check_settings
from serve.live import ArmEntry, Pointer
from tests.serve.cycled import WORLD

RULES = JudgeSection(bound=1.0, min_sessions=100, min_effective=50)
TRIAL = CanarySection(share=0.2, min_sessions=30, most_passes=3)


def judged(low: float, high: float, **changes: Any) -> Judged:
    found = {"sessions": 100, "effective": 50.0, "mean_weight": 1.0, "mean_weight_error": 0.1}
    return Judged(**{**found, "difference": Difference((low + high) / 2, low, high), **changes})


@pytest.mark.parametrize(
    ("found", "fate", "says"),
    [
        (judged(1.1, 3), "deploy", "earns more"),
        (judged(1.0, 3), "keep", "not known"),  # the lower end lies on the bound, not above
        (judged(-1, 3), "keep", "not known"),
        (judged(-3, 0.9), "keep", "does not earn enough"),
        (judged(0, 0), "keep", "does not earn enough"),
        (judged(1.1, 3, sessions=2), "deploy", "earns more"),  # what counts is their weight
        (judged(1.1, 3, effective=49.9), "canary", "as much of it as 49.9 sessions"),
        (judged(-3, -2, effective=49.9), "canary", "as much of it as 49.9 sessions"),
        (judged(1.1, 3, mean_weight=1.29), "deploy", "earns more"),  # within three errors
        (judged(1.1, 3, mean_weight=0.69), "canary", "mean weight is 0.69"),
        (judged(1.1, 3, mean_weight=1.31), "canary", "mean weight is 1.31"),
        (judged(1, 2, difference=None, refusal="no way"), "canary", "no way"),
        (judged(float("nan"), float("nan")), "keep", "not known"),
        (judged(1.1, float("inf")), "keep", "not known"),
        # Values of 200,000 may differ by 2 from rounding alone: 1.1 is within 1 + 2.
        (judged(1, 2, difference=Difference(2, 1.1, 3, 200_000.0)), "keep", "not known"),
    ],
)
def test_decisions(found: Judged, fate: str, says: str) -> None:
    decision = decide(100, found, [], RULES, 0.2)
    assert decision.fate == fate
    assert says in decision.why


def test_without_canaries_what_cannot_be_judged_is_not_deployed() -> None:
    decision = decide(100, judged(1.1, 3, effective=1.0), [], RULES, None)
    assert decision.fate == "keep" and "canary.share is null" in decision.why


@pytest.mark.parametrize("effective", [50.0, 1.0])
def test_few_sessions_decide_nothing(effective: float) -> None:
    decision = decide(99, judged(1.1, 3, effective=effective), [], RULES, 0.2)
    assert decision.fate == "keep" and "99 sessions are fewer than the 100" in decision.why


@pytest.mark.parametrize("found", [judged(1.1, 3), judged(1.1, 3, effective=1.0)])
def test_a_guard_stops_deployments_and_canaries(found: Judged) -> None:
    lost = Guard("coverage", 0.39, 0.8, 0.5)  # 0.39 < 0.5 * 0.8
    decision = decide(100, found, [Guard("diversity", 1.0, 1.0, 1.0), lost], RULES, 0.2)
    assert decision.fate == "keep"
    assert decision.why == "its coverage of 0.39 is below 50% of the live policy's 0.8"
    assert decide(100, found, [Guard("coverage", 0.4, 0.8, 0.5)], RULES, 0.2).fate != "keep"
    assert Guard("diversity", None, None, 0.5).holds  # slates of one item


def compared(low: float, high: float, canary: int = 30, live: int = 30) -> Compared:
    return Compared(canary, live, Difference((low + high) / 2, low, high))


@pytest.mark.parametrize(
    ("found", "looks", "fate"),
    [
        (compared(1.1, 3), 1, "promote"),
        (compared(1.0, 3), 1, "keep_on"),
        (compared(-1, 3), 2, "keep_on"),
        (compared(-1, 3), 3, "withdraw"),
        (compared(-3, 0.9), 1, "withdraw"),
        (compared(1.1, 3, canary=29), 1, "keep_on"),
        (compared(1.1, 3, live=29), 1, "keep_on"),
        (compared(1.1, 3, canary=29), 3, "withdraw"),
        (compared(1.1, 3), 3, "promote"),
        (Compared(40, 40), 1, "keep_on"),
    ],
)
def test_what_becomes_of_canaries(found: Compared, looks: int, fate: str) -> None:
    assert decide_canary(found, looks, TRIAL, RULES).fate == fate


def test_all_looks_at_a_canary_together_err_no_more_than_one() -> None:
    # 5 % over 5 looks: 1 % each.
    assert level_of(CanarySection(most_passes=5), JudgeSection(confidence=0.95)) == 0.99


def once(*returns: float) -> Sample:
    """Users who came once."""
    return Sample(np.array(returns), np.ones(len(returns)))


def test_welch_by_hand() -> None:
    found = welch(once(1, 2, 3), once(2, 4, 6, 8), 0.95)
    assert found is not None
    # Means 2 and 5; variances 1/3 and 20/3/4 = 5/3, error sqrt(2); freedom
    # 4 / ((1/9)/2 + (25/9)/3) = 4.0754717; its 97.5 % quantile is 2.7557.
    assert found.value == -3.0 and found.scale == 5.0
    assert found.high - found.value == pytest.approx(2.7557 * 2**0.5, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert welch(once(1), once(1, 2), 0.95) is None
    assert welch(once(1, 1, 1), once(0, 0), 0.95) == Difference(1.0, 1.0, 1.0, 1.0)


def test_users_who_come_often_are_one_unit_by_hand() -> None:
    # The live policy's three users earn 2 and 4; 3; 5, 5 and 2 in their sessions: 21 in 6,
    # mean 3.5. Their terms (6 - 7) / 2, (3 - 3.5) / 2 and (12 - 10.5) / 2 are -.5, -.25 and .75,
    # of variance (.25 + .0625 + .5625) / 2 = .4375, so that of the mean is .4375 / 3.
    live = Sample.of(np.array([2.0, 3, 5, 4, 5, 2]), np.array(["a", "b", "c", "a", "c", "c"]))
    assert live.total.tolist() == [6, 3, 12] and live.sessions.tolist() == [2, 1, 3]
    found = welch(once(1, 1, 1), live, 0.95)
    assert found is not None and found.value == -2.5
    # The other arm has no variance, so the freedom is 2: quantile 4.3027.
    assert found.high - found.value == pytest.approx(4.3027 * (0.4375 / 3) ** 0.5, rel=1e-4)


def test_intervals_over_users_hold_the_truth_as_often_as_they_say() -> None:
    # Users differ more than their sessions do, and the generous come more often.
    draw, level, misses, narrow = np.random.default_rng(0), 0.9, 0, 0
    for _ in range(400):
        arms, apart = [], []
        for _ in range(2):
            often = draw.integers(1, 9, 60)
            returns = np.repeat(often + draw.normal(0, 2, 60), often) + draw.normal(
                0, 1, often.sum()
            )
            arms.append(Sample.of(returns, np.repeat(np.arange(60), often).astype(str)))
            apart.append(once(*returns))
        found, too_narrow = welch(*arms, level), welch(*apart, level)
        assert found is not None and too_narrow is not None
        misses += not found.low <= 0 <= found.high
        narrow += not too_narrow.low <= 0 <= too_narrow.high
    # 10 % of 400, and four standard errors of that; sessions as units miss far more often.
    assert abs(misses - 40) <= 24 and narrow > 100


USERS = {"a": "u1", "b": "u2", "c": "u2", "d": "u3", "e": "u4", "f": ""}


class FakeLog(Log):
    """Rows from memory."""

    rows: Rows

    def sessions(self, rows: int = 8192, columns: Any = None) -> Any:
        yield self.rows


def test_arms_are_compared_by_where_sessions_began(tmp_path: Path) -> None:
    log = object.__new__(FakeLog)
    # Sessions a: live; b: canary, later rows answered by another arm; c: canary, open;
    # d: began before the canary; e: an arm of somebody else; f: canary, nobody's. b and c
    # are one user's.
    rows: list[tuple[str, int, float, str, float]] = [
        ("a", 0, 10, "main", 1),
        ("a", 1, 11, "canary", 2),
        ("b", 0, 10, "canary", 4),
        ("b", 1, 11, "main", 8),
        ("c", 0, 12, "canary", 16),
        ("d", 0, 9, "canary", 32),
        ("e", 0, 10, "other", 64),
        ("f", 0, 12, "canary", 128),
    ]
    session, step, time, arm, reward = (np.array(column) for column in zip(*rows, strict=True))
    columns = {
        "session_id": session.astype(object),
        "user_id": np.array([USERS[name] for name in session], object),
        "step": step,
        "time": time,
        "arm": arm.astype(object),
        "reward": reward,
    }
    object.__setattr__(log, "rows", Rows(columns))
    found = samples_of(log, 10.0, "canary", "main")
    assert found.canary.total.tolist() == [28, 128] and found.canary.sessions.tolist() == [2, 1]
    assert found.live.total.tolist() == [3.0] and found.live.sessions.tolist() == [1]
    assert compare(found, 0.95) == Compared(3, 1, None)


def test_held_out_sessions_of_the_live_policy(tmp_path: Path) -> None:
    names = np.array([f"s{number}" for number in range(40)], object)
    out = held_out(names, 0.5)
    versions = np.array(["1-a", "2-b"] * 20, object)
    rows = Rows(
        {
            "session_id": np.repeat(names, 2),
            "step": np.tile([0, 1], 40),
            # The second rows are another policy's: where a session began decides.
            "policy_version": np.repeat(versions, 2),
        }
    )
    rows["policy_version"][1::2] = "3-c"
    log = held_out_of(Log(header(), ()), 0.5, "2-b")
    first = np.arange(0, 80, 2)
    kept = log.keep(rows, first)
    assert 0 < kept.sum() < 20
    assert kept.tolist() == (out & (versions == "2-b")).tolist()


def header() -> Header:
    simulator = make_simulator(num_users=1, **WORLD)
    return Header(simulator.spec, simulator.history, simulator.reward_name)


def test_distances_by_hand() -> None:
    slates = np.array([[[0.0, 0], [3, 4], [0, 0]], [[1, 1], [1, 1], [1, 1]]])
    # Pairs 5, 0, 5 of the first slate: 10/3; the second's items are all the same.
    assert distances(slates) == pytest.approx([10 / 3, 0])


def offered(ids: list[list[str]], items: list[list[list[float]]]) -> Rows:
    return Rows(
        {
            "candidate_ids": np.array(ids, object),
            "candidates": np.array(items, np.float32),
            "mask": np.ones((len(ids), len(ids[0])), np.bool_),
        }
    )


def test_coverage_tells_items_apart_by_id_or_else_by_features() -> None:
    kinds = [[[0.0], [1.0], [2.0]]] * 3
    recurring = offered([["a", "b", "c"]] * 3, kinds)
    fresh = offered([[f"{row}-{n}" for n in range(3)] for row in range(3)], kinds)
    other = offered([[f"{row}-{n}" for n in range(3)] for row in range(3)], [
        [[float(3 * row + n)] for n in range(3)] for row in range(3)
    ])  # fmt: skip
    slates = np.array([[0, 1], [0, 1], [1, 0]])
    for rows, expected in ((recurring, 2 / 3), (fresh, 2 / 3), (other, None)):
        all_of_them, shown = Offered(), Shown()
        all_of_them.add(rows)
        shown.add(rows, slates)
        assert all_of_them.coverage(shown) == expected
    assert shown.diversity == 1.0  # positions 0 and 1 of each row lie 1 apart


class OneItem(Target):
    """Shows the first items of the list in every slate."""

    def distribution(self, seen: Any, size: int, pinned: Any) -> Any:
        class First:
            def sample(self, generator: Any) -> Any:
                return torch.arange(size).expand(len(seen.mask), size), None

        return First()


def test_guards_compare_what_both_would_show(tmp_path: Path) -> None:
    from algorithms.core.agent import Exploration
    from offline.playing import Destination, play_all, tasks_of
    from offline.playing import Target as Player
    from offline.recording import Acting, header_of

    world = {**WORLD, "num_candidates": 6}
    policy = random_policy(world)
    to = Destination(tmp_path / "log", header_of(world), "json", None)
    list(play_all(tasks_of(1, 40), [Player(policy, Acting("random", "1"))], world, 1, to, 0))
    log = open_log(tmp_path / "log")
    live = target_of(policy, log.header, any_size=True)
    narrow = OneItem("narrow", policy, Exploration(), True, any_size=True)
    rules = load_settings().guards
    both = guards(log, live, live, rules)
    assert [guard.name for guard in both] == ["coverage", "diversity"]
    assert all(guard.candidate == guard.live and guard.holds for guard in both)
    assert guards(log, narrow, live, rules)[1].candidate != both[1].live
    nothing = rules.model_copy(update={"coverage": None, "diversity": None})
    assert guards(log, narrow, live, nothing) == []
    less = rules.model_copy(update={"rows": 1})  # a whole session at least
    assert guards(log, live, live, less)[1].live != both[1].live


def random_policy(world: dict[str, Any]) -> Policy:
    simulator = make_simulator(num_users=1, **world)
    return baseline("random", simulator.spec, simulator.history, simulator.slate_size)


LIVE, OLD, NEW = (f"policies/{name}-1-abc" for name in ("live", "old", "new"))
MAIN = ArmEntry("main", LIVE, 0.8)
ON_TRIAL = Canary(OLD, 5.0, 2, "cycles/0002/run", 1)


def pointer(*arms: ArmEntry) -> Pointer:
    return Pointer(7, arms, "salt")


def test_who_is_live_and_who_is_on_trial() -> None:
    trial = Memory(canary=ON_TRIAL)
    both = pointer(MAIN, ArmEntry("canary", OLD, 0.2))
    found = standing(both, trial, Path("s"))
    assert (found.live, found.canary, found.note) == (MAIN, ON_TRIAL, "")
    alone = standing(pointer(MAIN), trial, Path("s"))
    assert alone.canary is None and "old-1-abc was taken away" in alone.note
    with pytest.raises(CycleError, match=r"arms that the cycle did not make \(main, canary\)"):
        standing(both, Memory(), Path("s"))
    with pytest.raises(CycleError, match="nothing is live"):
        standing(None, Memory(), Path("s"))
    assert tag_of(LIVE) == "1-abc"


@pytest.mark.parametrize(
    ("trial", "fate", "policy", "expected"),
    [
        (None, "keep", NEW, [("main", LIVE, 1.0)]),
        (None, "keep", None, [("main", LIVE, 1.0)]),
        (None, "deploy", NEW, [("main", NEW, 1.0)]),
        (None, "canary", NEW, [("main", LIVE, 0.8), ("canary", NEW, 0.2)]),
        ("keep_on", "keep", None, [("main", LIVE, 0.8), ("canary", OLD, 0.2)]),
        ("withdraw", "keep", NEW, [("main", LIVE, 1.0)]),
        ("withdraw", "canary", NEW, [("main", LIVE, 0.8), ("canary", NEW, 0.2)]),
        ("promote", "keep", NEW, [("main", OLD, 1.0)]),
        ("promote", "deploy", NEW, [("main", NEW, 1.0)]),
        ("promote", "canary", NEW, [("main", OLD, 0.8), ("canary", NEW, 0.2)]),
    ],
)
def test_arms_that_decisions_make(
    trial: Any, fate: Any, policy: str | None, expected: list[tuple[str, str, float]]
) -> None:
    before = (MAIN, ArmEntry("canary", OLD, 0.2)) if trial else (ArmEntry("main", LIVE, 1.0),)
    memory = Memory(canary=ON_TRIAL if trial else None)
    now = settled(standing(pointer(*before), memory, Path("s")), trial)
    arms = arms_after(before, now, fate, policy, 0.2)
    assert [(arm.name, arm.policy, pytest.approx(arm.weight)) for arm in arms] == expected


def test_passes_are_numbered_and_a_broken_one_goes_on(tmp_path: Path) -> None:
    assert next_number(tmp_path) == 1 and memory_of(tmp_path, 1) == Memory()
    memory = Memory(12.5, "cycles/0001/run", None, ON_TRIAL)
    write(folder_of(tmp_path, 1) / "pass.json", {})
    assert next_number(tmp_path) == 1
    write(folder_of(tmp_path, 1) / "report.json", {"memory": memory.to_json()})
    (tmp_path / "cycles" / "dry-0002").mkdir()
    assert next_number(tmp_path) == 2 and memory_of(tmp_path, 2) == memory
    (folder_of(tmp_path, 1) / "report.json").write_text("{")
    with pytest.raises(CycleError, match=r"report\.json cannot be read .*; remove .*0001"):
        memory_of(tmp_path, 2)


def test_old_logs_and_runs_go_but_not_those_still_needed(tmp_path: Path) -> None:
    for number in range(1, 6):
        for part in ("log", "run"):
            (folder_of(tmp_path, number) / part).mkdir(parents=True)
    forget(tmp_path, 5, 2, Memory(live_run="cycles/0002/run"))
    left = sorted(str(path.relative_to(tmp_path / "cycles")) for path in tmp_path.glob("*/*/*"))
    assert left == ["0002/run", "0004/log", "0004/run", "0005/log", "0005/run"]


def test_one_pass_at_a_time_and_a_killed_one_holds_nobody_up(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom serve.cycling.keeping import alone\n"
        "with alone(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(CycleError, match=f"process {process.pid}, begun .* is at work on"):
            with alone(tmp_path):
                pass
        os.kill(process.pid, signal.SIGKILL)
    with alone(tmp_path):
        assert f"process {os.getpid()}," in (tmp_path / "cycles" / "lock").read_text()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("judge.bond=1", "unknown key 'judge.bond'; did you mean 'bound'?"),
        ("canary.share=1.5", "canary.share is 1.5"),
        ("holdout=0", "holdout is 0"),
        ("join.window=tomorrow", "'tomorrow' is no duration"),
        ("join.session_gap=0m", "join.session_gap is 0m; give more than no time"),
        ("join.window=24h", "learn_from 3; windows overlap"),
        ("keep=2", "raise keep to 5"),
        ("learner=slate", "learner is 'slate'; did you mean 'slateq'?"),
        ("learn.train.update=3", "unknown key 'train.update'; did you mean 'updates'?"),
        ("learn.train.holdout=0.5", "learn.train.holdout is the cycle's own"),
        ("learn.train.select=best", "learn.train.select is the cycle's own"),
        ("learn.data=[x]", "learn.data is the cycle's own"),
        ("learn.workers=2", "learn.workers is the cycle's own"),
        ("explore.epsilon=0", "a policy that never explores"),
    ],
)
def test_settings_that_cannot_be(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_settings(load_settings(None, [override]))
    assert says in str(error.value) and "\n" not in str(error.value)


def test_defaults_stand_in_the_packaged_file() -> None:
    assert load_settings() == CycleSettings()
    check_settings(load_settings())
    # Cloning learns a distribution of its own, which explores without epsilon.
    check_settings(load_settings(None, ["learner=bc", "explore.epsilon=0"]))
    check_settings(load_settings(None, ["learner=marwil", "learn.marwil.beta=2"]))
    assert json.loads(load_settings().model_dump_json())["canary"]["share"] == 0.2


def test_a_log_of_some_sessions_is_never_an_empty_batch() -> None:
    log = SomeSessions(header(), (), lambda rows, first: np.zeros(len(first), np.bool_))
    assert list(log.sessions()) == []
