from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from algorithms.dqn.agent import DQNAgent
from algorithms.dqn.settings import DQNSettings
from algorithms.layers import ConfigError
from algorithms.policy import Policy, baseline
from envs.history import History, Term
from envs.registry import make_simulator
from offline.log.pseudonyms import Pseudonyms
from offline.log.schema import Header
from serve import deploy, run
from serve.app import check_key
from serve.live import ArmEntry, DeployError, read_pointer
from serve.replica import Replica
from serve.schemas import make_schemas
from serve.settings import Settings, load_settings
from serve.state import configure, prepare, read_serving_header
from tests.serve.conftest import policy_of, request_of

SETTINGS = Settings(watch_seconds=0.01)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    found = tmp_path / "serving"
    prepare(found, "random")
    return found


@pytest.fixture
def trained(tmp_path: Path, header: Header) -> str:
    """A policy folder, as a run has one."""
    policy_of(header, 0.25).save(tmp_path / "run" / "policy")
    return str(tmp_path / "run")


@pytest.fixture
def replica(state: Path) -> Iterator[Replica]:
    found = Replica(state, SETTINGS)
    found.start()
    yield found
    found.stop()


def names(replica: Replica) -> list[tuple[str, str]]:
    live = replica.engine.live
    assert live is not None
    return [(arm.name, arm.policy_name) for arm in live.arms]


def until(condition: Any) -> None:
    """Wait on a condition."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true")


def cli(*words: str) -> Any:
    return CliRunner().invoke(deploy.app, list(words))


def test_a_folder_is_made_ready_once(state: Path) -> None:
    first = read_pointer(state)
    assert first is not None
    assert first.arms == (ArmEntry("main", first.arms[0].policy, 1.0),)
    keys = (state / "keys").read_bytes()
    assert prepare(state, "random") == first  # the same again is no deployment
    assert (state / "keys").read_bytes() == keys
    assert read_serving_header(state).reward == "clicked_watchtime_reward"
    second = prepare(state, "click_maximiser")
    assert (second.generation, second.previous, second.salt) == (2, first.arms, first.salt)


def test_a_deployment_goes_live_in_running_replicas(
    state: Path, replica: Replica, trained: str
) -> None:
    assert names(replica) == [("main", "random")]
    found = cli(trained, "--state", str(state))
    assert found.exit_code == 0
    assert names(replica) == [("main", "click_maximiser")]
    assert found.output.startswith("deployment 2 is live: main click_maximiser-0-")
    assert found.output.strip().endswith("; 1 replicas have it")


def test_a_run_folder_may_go_after_it_was_deployed(state: Path, trained: str) -> None:
    deploy.deploy(state, trained, None, "", rollback=False)
    (Path(trained) / "policy" / "policy.safetensors").unlink()
    (Path(trained) / "policy" / "policy.json").unlink()
    served = Replica(state, SETTINGS)
    assert names(served) == [("main", "click_maximiser")]
    served.stop()


def test_a_canary_gets_its_share_and_grows(state: Path, trained: str, replica: Replica) -> None:
    assert cli(trained, "--state", str(state), "--share", "0.1").exit_code == 0
    live = replica.engine.live
    assert live is not None
    assert [(arm.name, arm.weight) for arm in live.arms] == [("main", 0.9), ("canary", 0.1)]
    assert cli(trained, "--state", str(state), "--share", "0.4").exit_code == 0
    grown = read_pointer(state)
    assert grown is not None
    assert [arm.weight for arm in grown.arms] == pytest.approx([0.6, 0.4])
    assert cli("random", "--state", str(state), "--share", "0.5", "--arm", "b").exit_code == 0
    three = read_pointer(state)
    assert three is not None
    assert [arm.name for arm in three.arms] == ["main", "canary", "b"]
    assert [arm.weight for arm in three.arms] == pytest.approx([0.3, 0.2, 0.5])


def test_each_experiment_mixes_its_users_anew(state: Path, trained: str) -> None:
    def salt() -> str:
        pointer = read_pointer(state)
        assert pointer is not None
        return pointer.salt

    found = []
    for words in (
        [trained, "--share", "0.1"],
        [trained, "--share", "0.4"],  # the same one grows: nobody moves back
        ["random", "--share", "0.1", "--arm", "b"],
        ["random"],
        [trained, "--share", "0.1"],
    ):
        assert cli(*words, "--state", str(state)).exit_code == 0
        found.append(salt())
    assert found[0] == found[1] == found[2] == found[3] != found[4]


def test_deployments_at_once_are_all_done(state: Path, trained: str) -> None:
    names = [f"arm-{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: deploy.deploy(state, trained, 0.1, name, False), names))
    pointer = read_pointer(state)
    assert pointer is not None and pointer.generation == 1 + len(names)
    assert {arm.name for arm in pointer.arms} == {"main", *names}


def test_a_policy_that_cannot_make_the_slates_asked_for_is_refused(
    state: Path, header: Header, tmp_path: Path
) -> None:
    assert header.history is not None
    settings = DQNSettings().model_dump()
    Policy(DQNAgent(header.spec, header.history, 1, settings)).save(tmp_path / "dqn")
    deploy.deploy(state, str(tmp_path / "dqn"), None, "", False)  # nobody has asked yet
    with TestClient(Replica(state, SETTINGS).app()) as client:
        for size in (1, 3, 3):
            client.post("/v1/recommend", json=request_of(header, 8, size)).raise_for_status()
    sentence = r"clients ask for slates of 3 of 8 candidates, and there the policy .* fails"
    with pytest.raises(DeployError, match=sentence):
        deploy.deploy(state, str(tmp_path / "dqn"), None, "", False)


def test_a_config_may_name_arms_and_undoes_nothing(state: Path, trained: str) -> None:
    wanted = [ArmEntry("a", "random", 1.0), ArmEntry("b", trained, 3.0)]
    first = configure(state, wanted)
    assert [(arm.name, arm.weight) for arm in first.arms] == [("a", 1.0), ("b", 3.0)]
    later = deploy.deploy(state, "click_maximiser", None, "", False)
    assert configure(state, wanted) == later == read_pointer(state)
    changed = configure(state, [ArmEntry("a", "random", 1.0), ArmEntry("b", trained, 1.0)])
    assert changed.generation == later.generation + 1
    assert [arm.weight for arm in changed.arms] == [1.0, 1.0]


def test_arms_of_a_config_are_checked(state: Path, trained: str, tmp_path: Path) -> None:
    arms = [{"name": "a", "policy": "random", "weight": 1}]
    settings = load_settings(changes={"arms": arms})
    assert run.chosen_pointer(state, None, [], settings).arms[0].name == "a"
    with pytest.raises(DeployError, match="are both given; leave one out"):
        run.chosen_pointer(state, trained, [], settings)
    with pytest.raises(ConfigError, match="arms are named a, a"):
        load_settings(changes={"arms": arms * 2})
    with pytest.raises(ConfigError, match="weight"):
        load_settings(changes={"arms": [{**arms[0], "weight": 0}]})


def test_a_node_without_the_key_serves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_SERVE_API_KEY", "secret")
    check_key(Settings(), True)
    monkeypatch.delenv("RECSIM_SERVE_API_KEY")
    check_key(Settings(), False)
    with pytest.raises(ConfigError, match="RECSIM_SERVE_API_KEY is not set on this node"):
        check_key(Settings(), True)


def test_rolling_back_returns_to_what_was_before(
    state: Path, trained: str, replica: Replica
) -> None:
    assert cli(trained, "--state", str(state)).exit_code == 0
    found = cli("--rollback", "--state", str(state))
    assert found.exit_code == 0
    assert names(replica) == [("main", "random")]
    assert replica.engine.live is not None
    assert replica.engine.live.generation == 3


def other_history(header: Header) -> Policy:
    history = History(header.spec, (Term("click"),))
    return baseline("click_maximiser", header.spec, history, 3)


def other_features() -> Policy:
    world = make_simulator(name="boredom", num_users=1)
    return baseline("random", world.spec, world.history, 3)


def test_a_policy_that_does_not_fit_is_refused_and_the_old_one_stays(
    state: Path, header: Header, tmp_path: Path, replica: Replica
) -> None:
    other_history(header).save(tmp_path / "history")
    other_features().save(tmp_path / "features")
    before = read_pointer(state)
    for target, sentence in (
        (tmp_path / "history", "remembers other things of a session (history version "),
        (tmp_path / "features", "expects the user features age_group (3), tastes (4), and this"),
        (tmp_path / "nothing", "holds no policy (no policy.json); give a run folder"),
    ):
        found = cli(str(target), "--state", str(state))
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert sentence in found.output
    assert read_pointer(state) == before
    assert names(replica) == [("main", "random")]


def test_a_policy_that_is_not_finite_is_refused(
    state: Path, header: Header, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algorithms.baselines.agents import ClickMaximiser

    decided = ClickMaximiser.decide

    def endless(self: Any, seen: Any, size: int) -> Any:
        found = decided(self, seen, size)
        return found._replace(log_weights=found.log_weights * float("inf"))

    monkeypatch.setattr(ClickMaximiser, "decide", endless)
    found = cli(trained, "--state", str(state))
    assert found.exit_code == 2
    assert "gives scores that are not finite on a test slate; train it again" in found.output
    monkeypatch.setattr(ClickMaximiser, "decide", lambda *_: 1 / 0)
    found = cli(trained, "--state", str(state))
    assert "fails on a test slate (ZeroDivisionError" in found.output


def test_a_pointer_that_a_replica_cannot_take_changes_nothing_there(
    state: Path, replica: Replica
) -> None:
    pointer = json.loads((state / "live.json").read_text())
    pointer["arms"][0]["policy"] = "policies/gone"
    pointer["generation"] = 9
    (state / "live.json").write_text(json.dumps(pointer))
    until(lambda: replica.engine.metrics.values["recsim_deployments", ("refused",)])
    assert names(replica) == [("main", "random")]
    taken, faults = deploy.await_replicas(state, 9, 5.0, 0.0)
    assert taken == 0
    assert "holds no policy" in faults[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name a run folder, a policy folder or a baseline; or --rollback"),
        (["random", "--rollback"], "--rollback takes no policy and no --share"),
        (["random", "--share", "1.5"], "--share is 1.5; it lies between 0 and 1"),
        (["random", "--arm", "b"], "--arm names an arm beside the others; give its --share too"),
        (["--rollback"], "has no deployment to return to"),
    ],
)
def test_bad_flags_are_told_in_a_sentence(state: Path, words: list[str], sentence: str) -> None:
    found = cli(*words, "--state", str(state))
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert sentence in found.output


def test_a_folder_that_is_no_endpoint_is_told(tmp_path: Path) -> None:
    found = cli("random", "--state", str(tmp_path))
    assert found.exit_code == 2
    assert "holds no endpoint; begin one with `python -m serve.run RUN" in found.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing is live in "),
        (["nobody"], "'nobody' is neither a run folder nor a baseline; there are"),
        (["random", "--port", "70000"], "--port is 70000; ports go from 1 to 65535"),
        (["random", "--host", "203.0.113.9"], "cannot listen on 203.0.113.9:"),
        (["random", "--set", "limits.max_slat=3"], "unknown key 'limits.max_slat'; did you mean"),
        (["random", "--set", "limits.max_slate=0"], "limits.max_slate is 0; it must be greater"),
        (["random", "--set", "safe.kind=popular"], "safe.kind is 'popular' and safe.counts is"),
        (["random", "--set", "api_key_file=nowhere"], "cannot read api_key_file nowhere"),
        (["random", "--set", "env.name=nowhere"], "nowhere"),
        (["random", "--replicas", "0"], "replicas.number is 0; it must be greater than or equal"),
        (["random", "--config", "nowhere.yaml"], "cannot read the config nowhere.yaml"),
    ],
)
def test_mistakes_end_before_anything_starts(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    words = [*words, "--state", str(tmp_path / "new")]
    if "--port" not in words:
        words += ["--port", "0"]
    found = CliRunner().invoke(run.app, words)
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert sentence in found.output
    assert not (tmp_path / "new" / "live.json").exists()


def test_arms_of_one_policy_get_alike_results(state: Path, header: Header) -> None:
    """An A/A test: nothing but chance tells the arms apart."""
    deploy.deploy(state, "random", 0.5, "b", rollback=False)
    served = Replica(state, SETTINGS)
    schemas = make_schemas(header.spec, SETTINGS.limits)
    body = json.dumps(request_of(header)).encode()
    asked = served.engine.reader.ask(schemas.parse(schemas.recommend, body))
    shown: dict[str, list[int]] = {"main": [], "b": []}
    for answer in served.engine.recommend([asked] * 2000):
        shown[answer.turn.arm.name].append(int(answer.drawn.slate[0]))
    served.stop()
    sizes = [len(found) for found in shown.values()]
    assert abs(sizes[0] - 1000) < 4.5 * 22.4  # standard deviation of 2,000 at a half
    means = [sum(found) / len(found) for found in shown.values()]
    # Positions from 0 to 7 have standard deviation 2.29; of the difference, 0.102.
    assert abs(means[0] - means[1]) < 4.5 * 0.102


def test_a_replica_needs_no_ray(state: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from serve.replica import Replica\nfrom serve.settings import Settings\n"
        f"Replica(Path({str(state)!r}), Settings()).app()\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('ray', 'recsim')]\n"
        "assert not loaded, loaded\n"
        "ours = {name.split('.')[0] + '.' + name.split('.')[1] for name in sys.modules\n"
        "        if name.startswith('offline.')}\n"
        "assert ours == {'offline.log'}, ours\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)


def test_the_endpoint_can_run_without_ray(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.testclient import TestClient

    from serve.replica import plain

    monkeypatch.setenv("RECSIM_SERVE_STATE", str(state))
    with TestClient(plain()) as client:
        request = request_of(read_serving_header(state))
        assert client.post("/v1/recommend", json=request).status_code == 200
        assert len(list((state / "replicas").iterdir())) == 1
    assert not list((state / "replicas").iterdir())
    (shard,) = (state / "log").glob("impressions-*.jsonl")
    assert shard.read_text().count("\n") == 1


def test_a_folder_without_policy_is_told(state: Path) -> None:
    (state / "live.json").unlink()
    with pytest.raises(DeployError, match="has no live policy; deploy one"):
        Replica(state, SETTINGS)


def test_user_ids_are_hashed_where_a_key_is_given(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_LOG_KEY", "a key of sixteen bytes or more")
    state = tmp_path / "serving"
    prepare(state, "random")
    served = Replica(state, SETTINGS)
    schemas = make_schemas(header.spec, SETTINGS.limits)
    body = json.dumps(request_of(header)).encode()
    served.engine.recommend([served.engine.reader.ask(schemas.parse(schemas.recommend, body))])
    served.stop()
    (shard,) = (state / "log").glob("impressions-*.jsonl")
    key = Pseudonyms(b"a key of sixteen bytes or more")
    assert json.loads(shard.read_text())["user_id"] == key.of("user-1")
    assert read_serving_header(state).pseudonyms == key.mark
    monkeypatch.delenv("RECSIM_LOG_KEY")
    with pytest.raises(ConfigError, match="in which user ids are hashed; set the same"):
        Replica(state, SETTINGS)
