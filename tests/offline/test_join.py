"""Raw logs of real engines, joined, against what was sent to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from envs.registry import make_simulator
from offline.check import app as check
from offline.evaluate import app as evaluate
from offline.join import app
from offline.log import COLUMNS, Pseudonyms, Rows, concatenate, open_log
from offline.log.schema import Header
from offline.train import app as train
from serve.asking import Offer
from serve.engine import Answered, Engine
from serve.journal import Journal, write_header
from serve.live import Arm, Live
from serve.schemas import make_schemas
from serve.settings import Settings
from tests.serve.conftest import KEYS, Clock, policy_of, request_of
from tests.serve.simulated import BOREDOM, of_baseline, served, simulate

START = 1_700_000_000.0
HOUR = 3600.0


class Site:
    """An endpoint with a clock, and users who answer with numbers that tell them apart."""

    def __init__(self, folder: Path, header: Header, **options: Any) -> None:
        self.folder, self.header, self.clock = folder / "log", header, Clock()
        self.folder.mkdir()
        write_header(self.folder, header)
        self.settings = Settings()
        self.journal = Journal(self.folder, "0000abcd", self.settings.log)
        self.schemas = make_schemas(header.spec, self.settings.limits)
        self.engine = Engine(header, KEYS, self.settings, self.journal, clock=self.clock, **options)
        arm = Arm("main", 1.0, policy_of(header), "1-abc")
        self.engine.live = Live(1, (arm,), "salt")

    def response(self, watched: float, slots: int = 3) -> list[dict[str, Any]]:
        """A click on the first item, watched so long; of 0 there is none."""
        spec = self.header.spec
        found = []
        for slot in range(slots):
            own = watched if slot == 0 else 0.0
            values = {f.name: [0.0] * f.size if f.size > 1 else 0.0 for f in spec.response}
            found.append({**values, "click": float(own > 0), "watch_time": own})
        return found

    def ask(
        self, after: Answered | None = None, watched: float | None = None, **wish: Any
    ) -> Answered:
        """An answer; what came back for the one before may be sent along."""
        request = {**request_of(self.header), **wish}
        if after is not None:
            request["session"] = after.token
        if watched is not None:
            request["responses"] = self.response(watched)
        parsed = self.schemas.parse(self.schemas.recommend, json.dumps(request).encode())
        self.clock.now += 1.0
        return self.engine.recommend([self.engine.reader.ask(parsed)])[0]

    def tell(self, answer: Answered, watched: float) -> None:
        """Feedback."""
        given = self.response(watched, len(answer.drawn.slate))
        self.clock.now += 1.0
        self.engine.feedback(
            answer.impression, self.engine.reader.responses(given, len(given), "responses")
        )

    def shard(self, kind: str) -> Path:
        (found,) = self.folder.glob(f"{kind}-*.jsonl")
        return found


@pytest.fixture
def header() -> Header:
    simulator = make_simulator("interest_evolution", 1)
    return Header(spec=simulator.spec, history=simulator.history, reward=simulator.reward_name)


@pytest.fixture
def site(tmp_path: Path, header: Header) -> Iterator[Site]:
    found = Site(tmp_path, header)
    yield found
    found.journal.close()


def test_the_log_has_a_name_of_its_own_where_none_is_given(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.ask()
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["log", "--window", "24h", "--session-gap", "30m"])
    assert found.exit_code == 0, found.output
    (made,) = (tmp_path / "logs").iterdir()
    assert made.name.startswith("log-2") and found.stdout.splitlines()[-1] == f"logs/{made.name}"


def run(source: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [str(source), "--out", str(out), *words])


def joined(site: Site, *words: str, name: str = "joined") -> tuple[Rows, dict[str, Any]]:
    """The rows, session by session, and what was counted; no fault, and nothing uncounted."""
    out = site.folder.parent / name
    found = run(site.folder, out, *words, "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    counts = report["impressions"]
    fates = ("faulty", "repeated", "outside", "branched", "lost", "left_out", "written")
    assert counts["lines"] == sum(counts[fate] for fate in fates)
    looked = CliRunner().invoke(check, [str(out)])
    assert looked.exit_code == 0, looked.output
    rows = concatenate(list(open_log(out).sessions(columns=tuple(COLUMNS))))
    assert len(rows) == counts["written"]
    return rows, report


def later(site: Site, hours: float = 1.0) -> tuple[str, str]:
    return "--until", str(site.clock.now + hours * HOUR)


def test_responses_stand_with_the_slates_that_they_answer(site: Site) -> None:
    first = site.ask(user_id="ann")
    second = site.ask(first, 2.0)
    third = site.ask(second)
    site.tell(third, 5.0)
    other = site.ask(user_id="bob")
    site.tell(second, 4.0)
    site.tell(first, 3.0)
    site.tell(first, 1.0)
    rows, report = joined(site, *later(site))
    assert rows["impression_id"].tolist() == [a.impression for a in (first, second, third, other)]
    # The last feedback wins over the first and over the token; the fourth was never answered.
    assert rows["reward"].tolist() == [1.0, 4.0, 5.0, 0.0]
    click = site.header.spec.response_slice("click").start
    assert rows["response"][:, :, click].tolist() == [[1, 0, 0]] * 3 + [[0, 0, 0]]
    assert rows["terminated"].tolist() == [False, False, True, True]
    assert not rows["truncated"].any()
    assert report["with_token"] == dict(used=0, superseded=1, orphans=0, misfits=0, late=0)
    assert report["feedback"]["used"] == 3 and report["feedback"]["superseded"] == 1
    assert report["impressions"]["unanswered"] == 1
    assert report["sessions"] == dict(written=2, terminated=2, truncated=0, split=0)


def test_all_that_was_logged_is_in_the_row(site: Site) -> None:
    wish = {"excluded": ["item-1"], "pinned": [{"slot": 1, "id": "item-2"}], "epsilon": 0.4}
    first = site.ask(user_id="ann", **wish)
    second = site.ask(first, 2.0, slate_size=2)
    site.tell(second, 1.0)
    rows, _ = joined(site)
    lines = [json.loads(line) for line in site.shard("impressions").open()]
    assert rows["mask"][0].tolist() == [name != "item-1" for name in lines[0]["candidate_ids"]]
    assert rows["pinned"][0].tolist()[:3] == [-1, 2, -1]
    assert rows["slate"][1].tolist() == [*lines[1]["slate"], -1]
    assert rows["response"].shape[1] == 3 and not rows["response"][1, 2].any()
    np.testing.assert_array_equal(rows["history"][1], np.float32(lines[1]["history"]))
    for name in ("session_id", "user_id", "step", "time", "arm", "policy", "policy_version"):
        assert rows[name].tolist() == [line[name] for line in lines]
    for name in ("log_propensity", "epsilon", "temperature"):
        assert rows[name].tolist() == pytest.approx([line[name] for line in lines])


def test_parquet_holds_the_same(site: Site) -> None:
    site.tell(site.ask(site.ask(), 2.0, slate_size=2), 3.0)
    expected, _ = joined(site)
    found, _ = joined(site, "--format", "parquet", name="columns")
    assert list((site.folder.parent / "columns").glob("*.parquet"))
    for name in COLUMNS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_sessions_are_cut_at_the_end_of_the_time(site: Site) -> None:
    site.ask(site.ask(), 1.0)
    rows, report = joined(site)
    assert rows["truncated"].tolist() == [False, True] and not rows["terminated"].any()
    assert report["until"] == rows["time"].max()
    rows, _ = joined(site, "--until", str(site.clock.now + 1801), name="ended")
    assert rows["terminated"].tolist() == [False, True]
    rows, _ = joined(site, "--until", str(site.clock.now + 1799), name="open")
    assert rows["truncated"].tolist() == [False, True]
    rows, _ = joined(
        site, "--until", str(site.clock.now + 61), "--session-gap", "1m", name="sooner"
    )
    assert rows["terminated"].tolist() == [False, True]


def test_nothing_after_the_end_counts(site: Site) -> None:
    first = site.ask()
    site.tell(first, 2.0)
    end = site.clock.now
    site.ask(first, 7.0)
    site.tell(first, 8.0)
    rows, report = joined(site, "--until", str(end))
    assert rows["reward"].tolist() == [2.0]
    assert report["impressions"]["outside"] == 1
    assert (report["with_token"]["late"], report["feedback"]["late"]) == (1, 1)


def test_the_window_takes_sessions_that_begin_in_it(site: Site) -> None:
    old = site.ask()
    site.clock.now += 1700
    old = site.ask(old, 1.0)
    new = site.ask()
    site.tell(old, 3.0)
    rows, report = joined(site, "--window", "20m")
    assert rows["impression_id"].tolist() == [new.impression]
    assert report["impressions"]["outside"] == 2
    # Its feedback is no orphan: the impression is there.
    assert report["feedback"]["orphans"] == 0
    rows, _ = joined(site, "--window", "30m", name="all")
    assert len(rows) == 3


def test_a_pause_begins_another_session(site: Site) -> None:
    first = site.ask()
    site.clock.now += 1000
    second = site.ask(first, 2.0)
    third = site.ask(second, 3.0)
    rows, report = joined(site, "--session-gap", "10m", *later(site))
    assert rows["step"].tolist() == [0, 0, 1]
    assert rows["terminated"].tolist() == [True, False, True]
    name = rows["session_id"][0]
    assert rows["session_id"].tolist() == [name, f"{name}.1", f"{name}.1"]
    assert report["sessions"]["split"] == 1
    assert rows["impression_id"].tolist() == [a.impression for a in (first, second, third)]


def test_the_gap_of_the_endpoint_keeps_the_response_with_its_slate(site: Site) -> None:
    first = site.ask()
    site.clock.now += 2 * HOUR
    site.ask(first, 2.0)  # another session, which brings the response to the first
    rows, _ = joined(site, *later(site))
    assert rows["reward"].tolist() == [2.0, 0.0]
    assert len(set(rows["session_id"].tolist())) == 2


def test_answers_that_were_repeated_count_once(site: Site) -> None:
    first = site.ask(request_id="a")
    assert site.ask(request_id="a").impression == first.impression
    second = site.ask(first, 2.0, request_id="b")
    assert site.ask(first, 2.0, request_id="b").impression == second.impression
    rows, report = joined(site)
    assert rows["impression_id"].tolist() == [first.impression, second.impression]
    assert rows["reward"].tolist() == [2.0, 0.0]
    assert report["impressions"]["repeated"] == 2
    assert report["with_token"]["superseded"] == 0


def test_of_a_branch_one_side_is_kept(site: Site) -> None:
    first = site.ask()
    given_up = site.ask(first, 2.0)
    second = site.ask(first, 4.0)
    third = site.ask(second, 5.0)
    site.tell(given_up, 9.0)
    rows, report = joined(site)
    kept = [answer.impression for answer in (first, second, third)]
    assert rows["impression_id"].tolist() == kept
    assert rows["reward"].tolist() == [4.0, 5.0, 0.0]
    assert report["impressions"]["branched"] == 1


def test_responses_that_belong_to_nothing_are_counted(site: Site) -> None:
    first = site.ask()
    site.tell(first, 2.0)
    line = json.loads(site.shard("feedback").read_text())
    other = {**line, "impression_id": "AQ" + "x" * 36}
    shorter = {**line, "response": line["response"][:24], "slots": 1}
    with site.shard("feedback").open("a") as stream:
        for one in (other, shorter):
            stream.write(json.dumps(one) + "\n")
        stream.write('"a string"\n{"impression_id": "x", "time": "now"}\n')
        stream.write(json.dumps(line)[:40])  # torn
    rows, report = joined(site)
    assert rows["reward"].tolist() == [2.0]
    assert report["feedback"] == dict(
        lines=5, faulty=2, torn=1, used=1, superseded=0, orphans=1, misfits=1, late=0
    )
    assert "is not as the endpoint writes it" in report["faults"][0]


def test_a_torn_last_line_is_left_out(site: Site) -> None:
    first = site.ask()
    site.ask(first, 2.0)
    text = site.shard("impressions").read_bytes()
    site.shard("impressions").write_bytes(text[:-20])
    rows, report = joined(site)
    assert rows["impression_id"].tolist() == [first.impression]
    assert report["impressions"]["torn"] == 1 and report["impressions"]["lines"] == 1


def long_session(site: Site, steps: int = 5) -> list[Answered]:
    answers = [site.ask()]
    for number in range(1, steps):
        answers.append(site.ask(answers[-1], float(number)))
    return answers


def rewrite(site: Site, changed: dict[int, Any]) -> None:
    """Put other lines in place of some, by number; `None` takes one away."""
    lines: list[Any] = site.shard("impressions").read_text().splitlines()
    for number, change in changed.items():
        row = json.loads(lines[number])
        lines[number] = change if isinstance(change, str | None) else json.dumps(row | change)
    text = "".join(f"{line}\n" for line in lines if line is not None)
    site.shard("impressions").write_text(text)


@pytest.mark.parametrize(
    ("change", "faulty", "lost"),
    [
        (None, 0, 2),  # a line that a full disk took
        ("{broken", 1, 2),
        ({"step": "two"}, 1, 2),
        ({"slate": [0, 0, 1]}, 1, 2),  # an item twice
        ({"epsilon": 3.0}, 1, 2),
        ({"user": [1.0]}, 1, 2),
        ({"log_propensity": -99.0}, 1, 2),
    ],
)
def test_a_session_is_cut_before_a_row_that_is_missing_or_faulty(
    site: Site, change: Any, faulty: int, lost: int
) -> None:
    answers = long_session(site)
    other = site.ask()
    rewrite(site, {2: change})
    rows, report = joined(site, *later(site))
    kept = [*answers[:2], other]
    assert rows["impression_id"].tolist() == [answer.impression for answer in kept]
    assert rows["truncated"].tolist() == [False, True, False]
    assert rows["terminated"].tolist() == [False, False, True]
    counts = report["impressions"]
    assert (counts["faulty"], counts["lost"]) == (faulty, lost)
    assert len(report["faults"]) == faulty
    if faulty:
        assert report["faults"][0].startswith(f"{site.shard('impressions')}:3: ")


def test_a_session_whose_first_row_is_faulty_is_left_out(site: Site) -> None:
    long_session(site, 3)
    other = site.ask()
    rewrite(site, {0: {"epsilon": 3.0}})
    rows, report = joined(site)
    assert rows["impression_id"].tolist() == [other.impression]
    assert (report["impressions"]["faulty"], report["impressions"]["lost"]) == (1, 2)


def test_rows_without_a_response_may_be_left_out(site: Site) -> None:
    first = site.ask()
    second = site.ask(first, 2.0)
    third = site.ask(second)  # says nothing of the second
    site.tell(third, 3.0)
    alone = site.ask()
    rows, report = joined(site, *later(site))
    assert rows["reward"].tolist() == [2.0, 0.0, 3.0, 0.0]
    assert report["impressions"]["unanswered"] == 2
    rows, report = joined(site, "--unanswered", "leave_out", *later(site), name="answered")
    assert rows["impression_id"].tolist() == [first.impression]
    assert rows["truncated"].tolist() == [True]
    assert report["impressions"]["left_out"] == 3 and report["impressions"]["unanswered"] == 0
    assert alone.impression not in rows["impression_id"]


def test_another_reward_of_the_same_responses(site: Site) -> None:
    site.tell(site.ask(), 7.0)
    rows, _ = joined(site)
    assert rows["reward"].tolist() == [7.0]
    rows, report = joined(site, "--reward", "total_clicks_reward", name="clicks")
    assert rows["reward"].tolist() == [1.0] and report["reward"] == "total_clicks_reward"
    assert open_log(site.folder.parent / "clicks").header.reward == "total_clicks_reward"


def test_shards_of_several_replicas(site: Site) -> None:
    answers = long_session(site)
    site.tell(answers[-1], 9.0)
    lines = site.shard("impressions").read_text().splitlines(keepends=True)
    site.shard("impressions").unlink()
    for replica in range(2):
        name = f"impressions-20261121T14044{replica}Z-0000000{replica}-00000.jsonl"
        (site.folder / name).write_text("".join(lines[replica::2]))
    rows, _ = joined(site)
    assert rows["reward"].tolist() == [1.0, 2.0, 3.0, 4.0, 9.0]
    assert rows["step"].tolist() == [0, 1, 2, 3, 4]


def test_the_result_does_not_depend_on_how_much_is_read_at_a_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        long_session(site, 3)
    joined(site)
    monkeypatch.setattr("offline.joining.reading._CHUNK", 100)
    monkeypatch.setattr("offline.joining.reading._ROWS", 2)
    monkeypatch.setattr("offline.joining.writing._BATCH_ROWS", 4)
    joined(site, name="pieces")
    folders = [site.folder.parent / name for name in ("joined", "pieces")]
    first, second = (sorted(folder.glob("*.jsonl")) for folder in folders)
    assert [file.name for file in first] == [file.name for file in second]
    assert first[0].read_bytes() == second[0].read_bytes()


def test_items_of_a_catalogue_are_named_and_not_copied(tmp_path: Path, header: Header) -> None:
    from offline.log import write_catalogue

    ids = [f"item-{number}" for number in range(6)]
    features = np.linspace(0, 1, 6 * header.spec.candidate_size, dtype=np.float32).reshape(6, -1)

    class Items:
        def offer(self, wanted: Any) -> Offer:
            return Offer(ids[:4], features[:4], version)

    site = Site(tmp_path, header, catalogue=Items())
    site.schemas = make_schemas(header.spec, site.settings.limits, catalogue=True)
    version = write_catalogue(site.folder, ids, features)
    site.ask(site.ask(candidates=None), 2.0, candidates=None)
    site.journal.close()
    rows, _ = joined(site)
    assert rows["catalogue"].tolist() == [version] * 2
    np.testing.assert_array_equal(rows["candidates"][1], features[:4])
    (shard,) = (tmp_path / "joined").glob("part-*.jsonl")
    assert json.loads(shard.read_text().splitlines()[0])["candidates"] is None


def test_hashed_users_are_not_hashed_again(tmp_path: Path, header: Header) -> None:
    key = Pseudonyms(b"0123456789abcdef")
    site = Site(tmp_path, replace(header, pseudonyms=key.mark), pseudonyms=key)
    site.ask(user_id="ann")
    site.journal.close()
    rows, _ = joined(site)
    assert rows["user_id"].tolist() == [key.of("ann")]
    assert open_log(tmp_path / "joined").header.pseudonyms == key.mark


def test_the_report_in_words_and_beside_the_log(site: Site) -> None:
    site.ask(site.ask(), 2.0)
    found = run(site.folder.parent, site.folder.parent / "joined")  # the state folder will do
    assert found.exit_code == 0
    assert found.stdout.splitlines()[0] == (
        "2 impressions: 2 rows written, 1 of them without a response, taken for no click"
    )
    beside = json.loads((site.folder.parent / "joined" / "join.json").read_text())
    assert beside["impressions"]["written"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "1"], "'1' is no duration"),
        (["--window", "0h"], "must be longer than nothing"),
        (["--session-gap", "0s"], "must be longer than nothing"),
        (["--until", "tomorrow"], "--until is 'tomorrow'; write now"),
        (["--until", "1"], "nothing is left to write: of 1 impressions 1 are outside"),
        (["--unanswered", "no"], "--unanswered is 'no'; allowed are: zeros, leave_out"),
        (["--reward", "joy"], "'joy' is no reward that these responses tell"),
        (["--format", "csv"], "--format is 'csv'; allowed are: json, parquet"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    site: Site, words: list[str], message: str
) -> None:
    site.ask()
    before = sorted(site.folder.parent.iterdir())
    found = run(site.folder, site.folder.parent / "joined", *words)
    assert found.exit_code == 2 and message in found.stderr, found.output
    assert found.stderr.count("\n") == 1
    assert sorted(site.folder.parent.iterdir()) == before


def test_folders_that_cannot_be(site: Site, tmp_path: Path) -> None:
    def refused(source: Path, out: Path) -> str:
        found = run(source, out)
        assert found.exit_code == 2 and found.stderr.count("\n") == 1
        return found.stderr

    assert "holds no impression yet" in refused(site.folder, tmp_path / "new")
    site.ask()
    assert "holds no raw log" in refused(tmp_path / "nowhere", tmp_path / "new")
    assert "lies within the raw log" in refused(site.folder, site.folder / "joined")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    assert "is there already" in refused(site.folder, tmp_path / "used")
    path = site.folder / "serving.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "serving_version": 2}))
    assert "of serving version 2" in refused(site.folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_empty_folder_may_be_there_already(site: Site, tmp_path: Path) -> None:
    site.ask()
    (tmp_path / "joined").mkdir()
    rows, _ = joined(site)
    assert len(rows) == 1


def test_a_full_disk_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ask()

    def full(rows: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offline.log.write.encode", full)
    before = sorted(site.folder.parent.iterdir())
    found = run(site.folder, site.folder.parent / "joined")
    assert found.exit_code == 2 and "No space left on device" in found.stderr
    assert sorted(site.folder.parent.iterdir()) == before


def test_ctrl_c_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ask()

    def stop(rows: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("offline.log.write.encode", stop)
    before = sorted(site.folder.parent.iterdir())
    found = run(site.folder, site.folder.parent / "joined")
    assert (found.exit_code, found.stderr) == (130, "Stopped; nothing was written\n")
    assert sorted(site.folder.parent.iterdir()) == before


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A log that simulated users left at an endpoint, and their returns."""
    folder = tmp_path_factory.mktemp("loop")
    with served(folder / "log", of_baseline("random", BOREDOM)) as endpoint:
        played, _ = simulate(endpoint, BOREDOM, 300)
    found = run(folder, folder / "joined", "--until", "2100-01-01", "--json")
    assert found.exit_code == 0, found.output
    return folder / "joined", played.result


def test_what_simulated_users_earned_is_what_is_joined(loop: tuple[Path, Any]) -> None:
    folder, result = loop
    assert CliRunner().invoke(check, [str(folder)]).exit_code == 0
    rows = concatenate(list(open_log(folder).sessions(columns=tuple(COLUMNS))))
    begins = np.flatnonzero(rows["step"] == 0)
    users = [int(name.split("-")[1]) for name in rows["user_id"][begins]]
    returns = np.add.reduceat(rows["reward"], begins)
    lengths = np.diff(begins, append=len(rows))
    assert returns.tolist() == result.returns[users].tolist()
    assert lengths.tolist() == result.lengths[users].tolist()
    assert rows["terminated"].sum() == 300


def test_the_loop_is_judged_and_learned_from(loop: tuple[Path, Any], tmp_path: Path) -> None:
    folder, result = loop
    words = ["click_maximiser", "--epsilon", "0.95", "--data", str(folder), "--json"]
    found = CliRunner().invoke(evaluate, words)
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["logged"]["value"] == pytest.approx(result.returns.mean(), rel=1e-6)
    policy = of_baseline("click_maximiser", BOREDOM)
    policy.exploration = replace(policy.exploration, epsilon=0.95)
    true = evaluate_policy(policy, BOREDOM, 2000, 9, explore=True).returns.mean()
    judged = data["estimates"]["sdr"]
    # The endpoint's draws are its own, so that this has chance in it: 4 deviations, not 2.
    assert abs(judged["value"] - true) < judged["interval"][1] - judged["interval"][0]
    assert data["recommended"] is not None
    small = ["--set", "train.updates=5"]
    learned = CliRunner().invoke(
        train, ["bc", "--data", str(folder), "--out", str(tmp_path / "run"), *small]
    )
    assert learned.exit_code == 0, learned.output
    assert Policy.load(tmp_path / "run").algorithm == "bc"
