"""Policies that learned from a log, ranked by what their log did not hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from envs.history import Term
from offline.data.declaring import ColumnSection, Declared
from offline.data.encoding import Encoding
from offline.log import LogError
from offline.rank import app as rank_app
from offline.ranking.policies import ranks, refuse_peeking, states
from offline.ranking.reading import Taken
from offline.tables import app as tables_app
from offline.train import app as train_app
from tests.offline.ranking.tables import movielens
from tests.offline.ranking.test_scorers import worlds

COLUMNS = """
items:
  item_id: {type: category, encoding: embedded}
  genres: {type: categories, encoding: one_hot}
users:
  user_id: {type: category, encoding: embedded}
history:
  - {what: genres, keep: 0.9, scale: 0.1}
"""


def run(app: Any, *words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranked")
    worlds(folder)
    parts = run(rank_app, "--data", folder, "--write-split", folder / "parts")
    assert parts.exit_code == 0, parts.output
    (folder / "columns.yaml").write_text(COLUMNS)
    return folder


def learn(data: Path, part: str, name: str, learner: str = "bc", *words: str) -> Path:
    """A run that learned from a part of the split."""
    parts, log = data / "parts", data / f"log-{part}"
    if not log.exists():
        tables = [f"--{table}={parts / table}.csv" for table in ("items", "users")]
        tables += [f"--interactions={parts / part}.csv", f"--columns={data / 'columns.yaml'}"]
        made = run(tables_app, *tables, "--session-gap=36500d", "--pool=ever", f"--out={log}")
        assert made.exit_code == 0, made.output
    short = ["--set", "train.holdout=0", "--set", "train.select=last", *words]
    made = run(train_app, learner, "--data", log, "--out", data / name, *short)
    assert made.exit_code == 0, made.output
    return data / name


@pytest.mark.slow
def test_cloning_tells_users_apart(data: Path) -> None:
    words = ["--set", "train.epochs=15", "--set", "bc.hidden=[]", "--set", "bc.minibatch_size=64"]
    made = learn(data, "train_and_validation", "bc", "bc", *words)
    found = run(rank_app, made, "popularity", "--data", data, "--k", "5", "--json")
    assert found.exit_code == 0, found.output
    ours, popular = (json.loads(line)["recall@5"] for line in found.stdout.splitlines())
    assert ours > 1.4 * popular and ours > 5 / 18  # see test_scorers


def test_who_learned_from_what_is_held_out_is_refused(data: Path) -> None:
    made = learn(data, "train_and_validation", "short", "bc", "--set", "train.epochs=1")
    found = run(rank_app, made, "--data", data, "--on", "validation")
    assert found.exit_code == 2 and "learned from 150 of the 150 held-out" in found.stderr
    assert found.stderr.count("\n") == 1
    # Of the test it has learned nothing; of the folder's training part nothing either.
    assert run(rank_app, made, "--data", data).exit_code == 0


def test_all_slots_of_a_log_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = worlds(tmp_path)
    catalogue, row = found.fitted.catalogue, 3
    user = catalogue.user_ids[found.users[row]]
    held, known = (
        catalogue.item_ids[number]
        for number in (
            found.relevant[row].indices[0],
            found.fitted.seen[found.users[row]].indices[0],
        )
    )

    def log_of(slates: list[list[str]]) -> Any:
        batch = {
            "user_id": np.array([user] * len(slates), object),
            "slate_ids": np.array(slates, object),
        }
        header = SimpleNamespace(pseudonyms=None)
        return SimpleNamespace(header=header, batches=lambda columns: iter([batch]))

    monkeypatch.setattr("offline.ranking.policies.open_log", lambda logs: log_of([[known, ""]]))
    refuse_peeking("run", ["log"], found)
    monkeypatch.setattr("offline.ranking.policies.open_log", lambda logs: log_of([[known, held]]))
    with pytest.raises(LogError, match="learned from 1 of the"):
        refuse_peeking("run", ["log"], found)


def test_a_baseline_that_ranks_nothing_is_refused() -> None:
    with pytest.raises(LogError, match=r"is a baseline that ranks no catalogue; .* \./click_max"):
        ranks("click_maximiser", None)


def test_a_log_that_is_gone_is_warned_of(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = learn(data, "train", "moved", "bc", "--set", "train.epochs=1")
    kept = data / "encoding"
    (data / "log-train").rename(kept)
    refused = run(rank_app, made, "--data", data)
    assert refused.exit_code == 2 and "nothing says how features are made" in refused.stderr
    found = run(rank_app, made, "--data", data, "--encoding", kept)
    assert found.exit_code == 0, found.output
    assert "cannot be compared with what is held out" in caplog.text
    kept.rename(data / "log-train")


def test_features_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    made = learn(data, "train_and_validation", "fits", "bc", "--set", "train.epochs=1")
    other = movielens(tmp_path / "own")
    for name in ("ratings", "movies"):
        (other / f"{name}.csv").unlink()
    (other / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\n")
    (other / "items.csv").write_text("item_id,price\na,1\nb,2\n")
    found = run(rank_app, made, "--data", other, "--k", "1")
    assert found.exit_code == 2 and "genres" in found.stderr
    assert found.stderr.count("\n") == 1
    log = tmp_path / "log"
    words = [f"--interactions={other / 'interactions.csv'}", f"--items={other / 'items.csv'}"]
    assert run(tables_app, *words, f"--out={log}").exit_code == 0
    found = run(rank_app, made, "--data", data, "--encoding", log)
    assert found.exit_code == 2 and "expects the features" in found.stderr


def test_what_is_remembered_goes_on_after_the_last() -> None:
    # One feature; a trace h' = 0.5 h + x. User 0 takes 1 then 2, user 1 nothing, user 2 takes 4.
    items = pa.table({"item_id": ["a", "b", "c"], "size": ["1", "2", "4"]})
    number = ColumnSection(type="number", scale="none")
    encoding = replace(
        Encoding.fit(Declared({"size": number}, {}), items), terms=(Term("size", 0.5, 1.0),)
    )
    taken = Taken(np.array([0, 0, 2]), np.array([0, 1, 2]), np.zeros(3), np.ones(3, np.float32))
    before, after = states(taken, encoding.encode_items(items), encoding.history, 3)
    assert before.tolist() == [[0.0], [1.0], [0.0]]
    assert after.tolist() == [[2.5], [0.0], [4.0]]
