from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from envs.registry import make_simulator
from offline import record
from offline.log import Rows, open_log
from offline.log.schema import Header
from serve import reference as command
from serve.engine import Engine
from serve.journal import Shards
from serve.replica import Replica
from serve.schemas import example_responses, make_schemas
from serve.settings import LogSection, Settings
from serve.state import prepare
from serve.watching.drift import Baseline, Drift, binned, psi, shift
from serve.watching.reference import ReferenceFault, load_reference, reference_of
from serve.watching.watch import log_uniform
from tests.serve.conftest import Ask, Clock, Endpoint, policy_of, request_of


def test_values_on_an_edge_are_in_the_bin_above() -> None:
    values = np.array([[0.0, 5.0], [1.0, 6.0], [1.5, 7.0], [2.0, 8.0]])
    edges = np.array([[1.0, 2.0], [6.5, np.inf]])
    assert binned(values, edges).tolist() == [[1, 2, 1], [2, 2, 0]]


def test_stability_index_by_hand() -> None:
    # 9.5 + 0.5 of 20, and 4.5 + 0.5 of 20: shares 1/2 and 1/2 against 1/4 and 3/4:
    # (1/2 - 1/4) ln 2 + (1/2 - 3/4) ln (2/3) = 0.25 ln 3.
    counts, baseline = np.array([[9.5, 9.5, 0.0]]), np.array([[4.5, 14.5, 0.0]])
    assert psi(counts, baseline, np.array([2]))[0] == pytest.approx(0.25 * math.log(3))
    assert psi(baseline, baseline, np.array([2]))[0] == 0.0
    # An empty bin is finite: shares 0.5/20 and 19.5/20 against 10/20 each.
    empty = psi(np.array([[0.0, 19.0]]), np.array([[9.5, 9.5]]), np.array([2]))[0]
    assert empty == pytest.approx(-0.475 * math.log(0.05) + 0.475 * math.log(1.95))


def test_shift_is_in_standard_deviations_of_the_log() -> None:
    base = Baseline.of((("a", 2),), np.array([[1.0, 4.0], [3.0, 4.0]]))  # deviations 1 and 0
    assert shift(np.array([4.0, 4.0]), base).tolist() == [2.0, 0.0]
    assert shift(np.array([2.0, 4.1]), base).tolist() == [0.0, 1000.0]  # never seen: the most


def test_columns_of_few_values_have_a_bin_each_and_others_deciles() -> None:
    values = np.stack([np.arange(100) % 2, np.arange(100)], axis=1).astype(np.float64)
    base = Baseline.of((("flag", 1), ("age", 1)), values)
    assert base.edges[0].tolist() == [0.5] + [math.inf] * 8
    assert base.counts[0].tolist() == [50, 50] + [0] * 8
    assert base.counts[1].tolist() == [10] * 10


def test_drift_sees_what_moved_forgets_it_and_waits_for_enough() -> None:
    random = np.random.default_rng(0)
    base = Baseline.of((("same", 1), ("moved", 2)), random.normal(size=(20_000, 3)))
    drift = Drift(base, half_life=60.0)
    drift.add(random.normal(size=(499, 3)), 0.0)
    assert drift.found() == {}
    moved = random.normal(size=(3000, 3)) + np.array([0.0, 0.0, 1.0])
    drift.add(moved, 0.0)
    found = drift.found()
    # The index of a normal moved by one deviation is about 1 by its deciles.
    assert found["same"][0] < 0.02 and found["moved"][0] > 0.5
    assert found["same"][1] < 0.1 and found["moved"][1] == pytest.approx(3000 / 3499, abs=0.06)
    drift.add(random.normal(size=(3000, 3)), 600.0)  # ten half-lives later
    assert drift.found()["moved"][0] < 0.02
    assert drift.rows == pytest.approx(3000 + 3499 / 1024)


def test_uniform_slates_by_hand() -> None:
    # 3 of 8: 8 * 7 * 6 = 336; all slots pinned: one slate.
    found = log_uniform(np.array([8, 5, 4]), np.array([3, 1, 0]))
    np.testing.assert_allclose(np.exp(-found), [336, 5, 1])


def test_answers_and_responses_become_figures(endpoint: Endpoint, ask: Ask, header: Header) -> None:
    engine = endpoint.engine(policy_of(header, 0.0))
    first = engine.recommend([ask(engine)])[0]
    responses = example_responses(header.spec, 3)  # the first is clicked
    engine.recommend([ask(engine, session=first.token, responses=responses)])
    engine.recommend([ask(engine, pinned=[{"slot": 0, "id": "item-1"}])])
    nothing = [{**one, "click": 0} for one in responses]
    engine.feedback(first.impression, engine.reader.responses(nothing, 3, "responses"))
    values = engine.metrics.values
    assert values["recsim_slates", ("arm-0",)] == 0  # nothing on the path of answers
    engine.watch.flush()
    assert values["recsim_slates", ("arm-0",)] == 3
    assert values["recsim_slots", ("arm-0",)] == 8  # one was pinned
    assert values["recsim_explored", ("arm-0",)] == 0
    assert values["recsim_responses", ("arm-0", "session")] == 1
    assert values["recsim_clicked", ("arm-0", "session")] == 1
    assert values["recsim_responses", ("", "feedback")] == 1
    assert values["recsim_clicked", ("", "feedback")] == 0
    watched = responses[0]["watch_time"]
    assert values["recsim_reward", ("arm-0", "session", "gain")] == pytest.approx(watched)
    # Without exploration the slate is certain: weight 1 for the greedy policy, and for
    # uniform slates 1 / (8 * 7 * 6), and 1 / (7 * 6) with a pin.
    assert values["recsim_weight", ("arm-0", "greedy")] == pytest.approx(3.0)
    assert values["recsim_weight", ("arm-0", "uniform")] == pytest.approx(2 / 336 + 1 / 42)
    assert values["recsim_weight_squares", ("arm-0", "uniform")] == pytest.approx(
        2 / 336**2 + 1 / 42**2
    )
    engine.watch.flush()
    assert values["recsim_slates", ("arm-0",)] == 3  # once


def test_weights_average_to_one_where_every_slate_may_be_shown(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine(policy_of(header, 0.5))
    asked = ask(engine)
    engine.recommend([asked] * 4000)
    engine.watch.flush()
    values = engine.metrics.values
    for target in ("uniform", "greedy"):
        total = values["recsim_weight", ("arm-0", target)] / 4000
        spread = values["recsim_weight_squares", ("arm-0", target)] / 4000 - total**2
        assert abs(total - 1) < 4.5 * math.sqrt(spread / 4000)
        assert spread > 0.1


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions of a few random slates, of 700 users."""
    folder = tmp_path_factory.mktemp("log") / "trained"
    found = CliRunner().invoke(
        record.app, ["random", "--users", "700", "--set", "env.time_budget=6", "--out", str(folder)]
    )
    assert found.exit_code == 0, found.output
    return folder


def psi_of(engine: Engine) -> dict[str, float]:
    found = engine.metrics.values.items()
    return {".".join(labels): value for (name, labels), value in found if name.endswith("psi")}


def test_drift_is_small_for_the_log_itself_and_large_for_others(
    endpoint: Endpoint, ask: Ask, header: Header, log: Path
) -> None:
    engine = endpoint.engine(policy_of(header, 1.0))
    reference = reference_of(open_log(log), str(log))
    assert reference.groups["user"].features == (("interests", 20),)
    engine.watch.refer(reference)
    (rows,) = list(open_log(log).batches())
    first = np.flatnonzero(rows["step"] == 0)[:600]
    for some in np.split(first, 12):
        engine.recommend([ask(engine, **logged(rows, number)) for number in some.tolist()])
        engine.watch.flush()
    alike = psi_of(engine)
    assert set(alike) == {"user.interests", "candidate.features", "propensity.slot"}
    assert max(alike.values()) < 0.02
    engine.watch.refer(reference)
    for _ in range(10):
        engine.recommend([ask(engine, slate_size=2)] * 60)  # one user, other candidates
        engine.watch.flush()
    other = psi_of(engine)
    assert other["user.interests"] > 1.0
    # Each of 20 topics was a twentieth of the items; the example has 8, so others are missing.
    assert other["candidate.features"] > 0.25
    assert other["propensity.slot"] > 1.0  # of 8 candidates, no longer of 10
    engine.watch.refer(None)
    assert psi_of(engine) == {}


def logged(rows: Rows, number: int) -> dict[str, Any]:
    """A request as it stands in a log."""
    items = rows["candidates"][number].tolist()
    return {
        "user": {"interests": rows["user"][number].tolist()},
        "candidates": [
            {"id": str(at), "features": {"features": one}} for at, one in enumerate(items)
        ],
        "slate_size": rows["slate"].shape[1],
    }


def test_a_reference_survives_its_file(header: Header, log: Path, tmp_path: Path) -> None:
    made = reference_of(open_log(log), str(log))
    made.write(tmp_path / "reference.json")
    read = load_reference(tmp_path / "reference.json", header.spec)
    assert (read.rows, read.source) == (made.rows, str(log))
    for name, base in made.groups.items():
        np.testing.assert_array_equal(read.groups[name].edges, base.edges)
        np.testing.assert_array_equal(read.groups[name].counts, base.counts)
        np.testing.assert_array_equal(read.groups[name].mean, base.mean)


def test_the_command_makes_running_replicas_measure_drift(log: Path, tmp_path: Path) -> None:
    state = tmp_path / "s"
    prepare(state, "random")
    replica = Replica(state, Settings(watch_seconds=0.01))
    replica.start()
    found = CliRunner().invoke(command.app, [str(log), "--state", str(state)])
    assert found.exit_code == 0, found.output
    assert "are the reference of" in found.output
    engine, pause = replica.engine, threading.Event()
    asked = example_asked(engine)
    for _ in range(500):
        engine.recommend([asked] * 20)
        if "user.interests" in psi_of(engine):
            break
        pause.wait(0.01)
    replica.stop()
    assert psi_of(engine)["user.interests"] > 1.0


def example_asked(engine: Engine) -> Any:
    header = engine.header
    schemas = make_schemas(header.spec, engine.settings.limits)
    body = json.dumps(request_of(header)).encode()
    return engine.reader.ask(schemas.parse(schemas.recommend, body))


def test_what_is_no_reference_ends_in_a_sentence(
    header: Header, log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "reference.json"
    made = reference_of(open_log(log), "log")
    for text, words in (
        ("{", "cannot be used"),
        ('{"reference_version": 2}', "it has version 2, not 1"),
        ('{"reference_version": 1, "source": "", "rows": 1, "groups": {}}', "other user features"),
        ('{"reference_version": 1, "source": "", "rows": 1, "groups": []}', "cannot be used"),
    ):
        path.write_text(text)
        with pytest.raises(ReferenceFault, match=words):
            load_reference(path, header.spec)
    other = make_simulator(name="long_term_satisfaction", num_users=1)
    made.write(path)
    with pytest.raises(ReferenceFault, match="other user features than this endpoint"):
        load_reference(path, other.spec)
    # A running endpoint serves on without it.
    state = tmp_path / "s"
    prepare(state, "random")
    (state / "reference.json").write_text("{")
    replica = Replica(state, Settings())
    assert "Drift is not measured" in caplog.text
    replica.engine.recommend([example_asked(replica.engine)])
    replica.stop()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "'nowhere' is no folder, file or pattern"),
        (["{log}", "--state", "{tmp}"], "holds no endpoint"),
        (["{log}", "--state", "{other}"], "has the user features"),
    ],
)
def test_mistakes_with_the_command_end_in_one_sentence(
    words: list[str], message: str, log: Path, tmp_path: Path
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    prepare(own, "random")
    prepare(other, "random", {"name": "long_term_satisfaction"})
    given = [word.format(log=log, tmp=tmp_path, other=other) for word in words]
    if "--state" not in given:
        given += ["--state", str(own)]
    found = CliRunner().invoke(command.app, given)
    assert found.exit_code == 2
    assert message in found.output and found.output.count("\n") == 1
    assert not list(tmp_path.glob("*/reference.json"))


def test_an_older_line_than_the_disk_has_is_told(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = Shards(tmp_path, "impressions", "a", LogSection(), clock=clock)
    assert (shards.unsynced_seconds(), shards.idle_seconds()) == (0.0, None)
    shards.append(b"1\n")
    clock.now += 5
    shards.append(b"2\n")
    clock.now += 2
    assert (shards.unsynced_seconds(), shards.idle_seconds()) == (7.0, 2.0)

    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.fdatasync", fail)
        shards.sync()
    clock.now += 1
    assert shards.unsynced_seconds() == 8.0  # what could not be synced still waits
    shards.sync()
    assert (shards.unsynced_seconds(), shards.idle_seconds()) == (0.0, 3.0)
    shards.close()
