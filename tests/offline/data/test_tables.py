"""The command: tables in, a log out; and what is wrong with tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from offline.check import app as check
from offline.data.encoding import Encoding
from offline.evaluate import app as evaluate
from offline.log import COLUMNS, Rows, concatenate, open_log
from offline.tables import app
from offline.train import app as train

INTERACTIONS = """user_id,item_id,timestamp,weight
u1,a,0,1
u1,b,60,2
u2,b,70,4
u1,c,10000,3
u2,a,20000,1
"""
ITEMS = "item_id,price,brand\na,1,x\nb,3,y\nc,2,x\nd,9,\n"
USERS = "user_id,plan\nu1,free\nu2,paid\n"


def write(folder: Path, **files: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"interactions": INTERACTIONS, "items": ITEMS, "users": USERS, **files}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in texts}


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def make(folder: Path, *words: Any, with_users: bool = True, **files: str) -> Any:
    paths = write(folder, **files)
    named = ["--interactions", paths["interactions"], "--items", paths["items"]]
    return run(
        *named,
        *(["--users", paths["users"]] if with_users else []),
        "--out",
        folder / "log",
        *words,
    )


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).sessions(columns=tuple(COLUMNS))))


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_a_log_by_hand(tmp_path: Path, format: str) -> None:
    found = make(tmp_path, "--negatives", 2, "--format", format)
    assert found.exit_code == 0, found.output
    assert (
        found.stdout.splitlines()[-1] == f"{tmp_path / 'log'}: 4 sessions, 5 rows, 2 users, 4 items"
    )
    assert CliRunner().invoke(check, [str(tmp_path / "log")]).exit_code == 0
    rows = read(tmp_path / "log")
    seen = list(zip(rows["session_id"], rows["step"], rows["slate_ids"][:, 0], strict=True))
    expected = [
        ("u1-0", 0, "a"),
        ("u1-0", 1, "b"),
        ("u1-1", 0, "c"),
        ("u2-0", 0, "b"),
        ("u2-1", 0, "a"),
    ]
    assert sorted(seen) == expected
    by = {(session, step): number for number, (session, step, _) in enumerate(seen)}
    assert rows["reward"][by["u1-0", 1]] == 2 and rows["time"][by["u1-0", 1]] == 60
    assert rows["response"][by["u2-0", 0]].tolist() == [[1, 4]]
    # Only the session that was under way when the data end, at 20000, is cut.
    assert rows["truncated"].nonzero()[0].tolist() == [by["u2-1", 0]]
    assert rows["terminated"][by["u1-1", 0]] and not rows["terminated"][by["u1-0", 0]]
    assert set(rows["propensity_source"]) == {"none"} and np.isnan(rows["log_propensity"]).all()
    # Item d never came up, so nobody knows since when there is one.
    assert {frozenset(ids) for ids in rows["candidate_ids"]} == {frozenset("abc")}
    # Prices 1, 3, 2, 9: mean 3.75, deviation sqrt(9.6875); then brands x and y.
    price = (1 - 3.75) / np.sqrt(9.6875)
    shown = rows["candidates"][by["u1-0", 0], rows["slate"][by["u1-0", 0], 0]]
    assert shown.tolist() == pytest.approx([price, 1, 0])
    assert rows["user"][by["u1-0", 0]].tolist() == [1, 0]
    # Traces scaled by 0.2 of what was taken before, the last weight, 0.05 a step.
    assert rows["history"][by["u1-0", 0]].tolist() == [0] * 5
    after = [0.2 * price, 0.2, 0, 1, 0.05]
    assert rows["history"][by["u1-0", 1]].tolist() == pytest.approx(after)


def test_options_change_what_they_say(tmp_path: Path) -> None:
    usual = read_made(tmp_path / "usual", "--negatives", 1)
    assert usual["candidate_ids"].shape == (5, 2)
    assert read_made(tmp_path / "more", "--negatives", 2)["candidate_ids"].shape == (5, 3)
    long = read_made(tmp_path / "long", "--session-gap", "10h", "--negatives", 1)
    assert set(long["session_id"]) == {"u1-0", "u2-0"}
    other = [read_made(tmp_path / f"{n}", "--negatives", 1, "--seed", n) for n in range(8)]
    assert len({str(rows["candidate_ids"].tolist()) for rows in other}) > 1
    assert (other[0]["candidate_ids"] == usual["candidate_ids"]).all()
    clock = read_made(tmp_path / "clock", with_users=False)
    assert clock["user"].shape == (5, 2)
    key = tmp_path / "key"
    key.write_text("a secret of enough bytes")
    hashed = read_made(tmp_path / "hashed", "--key-file", key)
    assert not set(hashed["user_id"]) & {"u1", "u2"}


def read_made(folder: Path, *words: Any, with_users: bool = True, **files: str) -> Rows:
    found = make(folder, *words, with_users=with_users, **files)
    assert found.exit_code == 0, found.output
    return read(folder / "log")


def test_columns_are_printed_saved_and_read(tmp_path: Path) -> None:
    saved = tmp_path / "columns.yaml"
    found = make(tmp_path / "first", "--write-columns", saved)
    assert "brand:\n    type: category" in found.stdout and "plan:" in saved.read_text()
    saved.write_text("items: {price: {type: number, scale: minmax}}\n")
    rows = read_made(tmp_path / "second", "--columns", saved)
    taken = np.take_along_axis(rows["candidates"][..., 0], rows["slate"], axis=1)[:, 0]
    prices = dict(zip(rows["slate_ids"][:, 0], taken.tolist(), strict=True))
    assert prices == pytest.approx({"a": 0.0, "b": 0.25, "c": 0.125})


def test_later_tables_are_encoded_as_earlier_ones(tmp_path: Path) -> None:
    make(tmp_path / "first")
    later = make(
        tmp_path / "later",
        "--encoding",
        tmp_path / "first" / "log",
        items="item_id,price,brand\na,1,x\nb,100,z\nc,2,x\n",
    )
    assert later.exit_code == 0, later.output
    both = open_log([tmp_path / "first" / "log", tmp_path / "later" / "log"])
    assert sum(map(len, both.batches())) == 10  # headers agree, so they are one log
    encoding = Encoding.load(tmp_path / "later" / "log")
    assert encoding == Encoding.load(tmp_path / "first" / "log")


def test_tables_that_lack_encoded_columns_are_refused(tmp_path: Path) -> None:
    assert make(tmp_path / "first").exit_code == 0
    encoded = ["--encoding", tmp_path / "first" / "log"]
    found = make(tmp_path / "a", *encoded, items="item_id,cost\na,1\nb,2\nc,3\n")
    assert found.exit_code == 2 and not (tmp_path / "a" / "log").exists()
    assert "the columns price, brand of items, which the table lacks" in found.stderr
    found = make(tmp_path / "b", *encoded, users="user_id,tier\nu1,free\nu2,paid\n")
    assert found.exit_code == 2 and "the column plan of users" in found.stderr
    assert make(tmp_path / "plain", with_users=False).exit_code == 0
    found = make(tmp_path / "c", "--encoding", tmp_path / "plain" / "log")
    assert found.exit_code == 2 and "no features of users; leave --users out" in found.stderr


def test_copies_know_how_their_candidates_came_about(tmp_path: Path) -> None:
    assert make(tmp_path).exit_code == 0
    log, copy = tmp_path / "log", tmp_path / "copy"
    found = CliRunner().invoke(check, [str(log), "--fix", str(copy)])
    assert found.exit_code == 0, found.output
    assert Encoding.load(copy) == Encoding.load(log)
    found = CliRunner().invoke(evaluate, ["random", "--data", str(copy)])
    assert found.exit_code == 2 and not found.stdout
    assert "5 of 5 rows have no propensities, and none can be estimated" in found.stderr
    assert "offline.propensity" not in found.stderr


def test_unknown_items_and_users(tmp_path: Path) -> None:
    files = {"items": "item_id,price\na,1\nb,3\n", "users": "user_id,plan\nu1,free\n"}
    refused = make(tmp_path / "refused", **files)
    assert refused.exit_code == 2
    assert "interactions.csv:5: item 'c' is not in" in refused.stderr
    assert "in 1 of 5 interactions" in refused.stderr and "--drop-unknown" in refused.stderr
    assert not (tmp_path / "refused" / "log").exists()
    found = make(tmp_path / "kept", "--drop-unknown", **files)
    assert "1 interactions with unknown items are left out" in found.stderr
    assert "1 users are not in the table of users" in found.stderr
    rows = read(tmp_path / "kept" / "log")
    assert "c" not in rows["slate_ids"] and len(rows) == 4
    assert rows["user"][rows["user_id"] == "u2"].tolist() == [[0], [0]]


def test_gzip_and_weights_left_out(tmp_path: Path) -> None:
    paths = write(tmp_path)
    packed = tmp_path / "interactions.csv.gz"
    packed.write_bytes(gzip.compress(b"user_id,item_id,timestamp\nu1,a,0\nu1,b,1\n"))
    found = run("--interactions", packed, "--items", paths["items"], "--out", tmp_path / "log")
    assert found.exit_code == 0, found.output
    assert read(tmp_path / "log")["reward"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"interactions": "user_id,item,timestamp\n"},
            "interactions.csv:1: there is no column 'item_id'",
        ),
        ({"interactions": ""}, "interactions.csv is empty"),
        ({"interactions": "user_id,item_id,timestamp\n"}, "interactions.csv holds no rows"),
        (
            {"interactions": "user_id,item_id,timestamp\nu,a,1\nu,b,noon\n"},
            "interactions.csv:3: 'timestamp' is 'noon'; it must be a number",
        ),
        (
            {"interactions": "user_id,item_id,timestamp\nu,a,1700000000000\n"},
            "interactions.csv:2: 'timestamp' is 1700000000000, which are no seconds since 1970",
        ),
        (
            {"interactions": "user_id,item_id,timestamp,weight\nu,a,1,1\nu,a,2,nan\n"},
            "interactions.csv:3: 'weight' is nan; it must be a finite number",
        ),
        (
            {"interactions": "user_id,item_id,timestamp,weight\nu,a,1,\n"},
            "interactions.csv:2: 'weight' is ''; it must be a number",
        ),
        (
            {"interactions": "user_id,item_id,timestamp\nu,a,1\n,a,1\n"},
            "interactions.csv:3: 'user_id' is empty",
        ),
        (
            {"interactions": "user_id,item_id,timestamp\nu,a,1\nu,a\n"},
            "interactions.csv:3: there are 2 cells for 3 columns",
        ),
        (
            {"items": "item_id,price\na,1\nb,2\n\na,3\n"},
            "items.csv:5: item_id 'a' stands twice, first in line 2",
        ),
        (
            {"items": "item_id,price,price\na,1,1\n"},
            "items.csv:1: the column 'price' stands there twice",
        ),
        ({"users": "user,plan\nu1,free\n"}, "users.csv:1: there is no column 'user_id'"),
    ],
)
def test_faults_of_files_are_one_sentence(
    tmp_path: Path, files: dict[str, str], sentence: str
) -> None:
    found = make(tmp_path, **files)
    assert found.exit_code == 2 and sentence in found.stderr, found.output
    assert found.stderr.count("\n") == 1 and not (tmp_path / "log").exists()


def test_a_number_that_is_none_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "columns.yaml").write_text("items: {brand: {type: number}}\n")
    found = make(tmp_path, "--columns", tmp_path / "columns.yaml")
    assert found.exit_code == 2
    assert "items.csv:2: 'brand' is 'x'; it must be a finite number, or empty" in found.stderr


def test_a_history_that_cannot_be_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "columns.yaml"
    for term, sentence in (
        ("{what: colour}", "names 'colour', which is none of"),
        ("{what: brand, keep: 2}", "the decay lies between 0 and 1"),
    ):
        path.write_text(f"items: {{brand: {{type: category}}}}\nhistory: [{term}]\n")
        found = make(tmp_path, "--columns", path)
        assert found.exit_code == 2 and sentence in found.stderr, found.output
        assert found.stderr.startswith(f"{path}: ") and found.stderr.count("\n") == 1


def test_bc_learns_from_it_and_evaluation_refuses(tmp_path: Path) -> None:
    log = tmp_path / "demo"
    assert run("--synthetic", "--synthetic-users", 40, "--out", log).exit_code == 0
    words = ["bc", "--data", str(log), "--set", "train.epochs=1", "--out", str(tmp_path / "run")]
    learned = CliRunner().invoke(train, words)
    assert learned.exit_code == 0, learned.output
    refused = CliRunner().invoke(evaluate, [str(tmp_path / "run"), "--data", str(log)])
    assert refused.exit_code == 2 and "have no propensities" in refused.stderr


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    paths = write(tmp_path)
    out = ["--out", tmp_path / "log"]
    one = ["--interactions", paths["interactions"]]
    both = [*one, "--items", paths["items"]]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    cases = [
        (run(*out), "nothing is given; give one of: --interactions, --movielens"),
        (run(*one, "--synthetic", *out), "--interactions and --synthetic is given; give one"),
        (run(*one, *out), "give --items"),
        (run(*both, *out, "--session-gap", "soon"), "'soon' is no duration"),
        (run(*both, *out, "--session-gap", "0m"), "a gap above 0"),
        (run(*both, *out, "--negatives", "-1"), "at least 0 other items"),
        (run(*both, *out, "--format", "csv"), "--format is 'csv'; allowed are: json, parquet"),
        (run(*both, "--out", tmp_path / "full"), "is there already; choose another folder"),
        (run(*both, "--out", paths["items"] / "log"), "Not a directory"),
        (run("--movielens", tmp_path, *out), "has no ratings.csv or ratings.csv.gz"),
        (run("--open-bandit", tmp_path, *out), "has no "),
        (run("--synthetic", "--synthetic-users", "0", *out), "--synthetic-users is 0"),
        (run("--synthetic", *both[2:], *out), "--items changes nothing with this source"),
        (run("--movielens", tmp_path, "--users", tmp_path, *out), "--users changes nothing"),
        (run("--open-bandit", tmp_path, "--columns", tmp_path, *out), "--columns changes"),
        (run("--open-bandit", tmp_path, "--drop-unknown", *out), "--drop-unknown changes"),
        (run(*both, *out, "--encoding", tmp_path), "cannot read the encoding"),
        (run(*both, *out, "--encoding", tmp_path, "--columns", tmp_path / "x"), "leave --columns"),
        (run(*both, *out, "--columns", tmp_path / "none.yaml"), "cannot read the config"),
        (run("--interactions", tmp_path / "no.csv", *both[2:], *out), "cannot read"),
    ]
    for found, sentence in cases:
        assert found.exit_code == 2 and sentence in found.stderr, found.output
        assert found.stderr.count("\n") == 1, found.stderr
    assert not (tmp_path / "log").exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from offline.log.write import JsonShard

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonShard, "write", full)
    found = make(tmp_path)
    assert found.exit_code == 2 and found.stderr == (
        f"cannot write {tmp_path / 'log'}: No space left on device; nothing was kept of it\n"
    )
    assert not (tmp_path / "log").exists()  # nor a folder under a temporary name
    assert not list(tmp_path.glob(".log*"))


def test_what_a_stopped_command_leaves_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("offline.data.building.LogWriter", stop)  # after the catalogue was written
        found = make(tmp_path)
    assert found.exit_code == 130 and found.stderr == "Stopped; nothing was written\n"
    assert not (tmp_path / "log").exists()
    # The tables of simulated users are whole before their log is made.
    monkeypatch.setattr("offline.data.building.LogWriter", stop)
    found = run("--synthetic", "--synthetic-users", 5, "--out", tmp_path / "made")
    assert found.exit_code == 130 and list((tmp_path / "made").iterdir())
    assert found.stderr == (
        f"Stopped; {tmp_path / 'made'} holds only a part, so delete it before the next try\n"
    )


def test_synthetic_tables_repeat_and_have_a_signal(tmp_path: Path) -> None:
    words = ["--synthetic", "--synthetic-users", 40]
    for name in ("one", "two"):
        found = run(*words, "--out", tmp_path / name)
        assert found.exit_code == 0, found.output
    other = run(*words, "--seed", 1, "--out", tmp_path / "other")
    assert other.exit_code == 0
    tables = {
        name: [
            (tmp_path / name / "tables" / f"{file}.csv").read_bytes()
            for file in ("interactions", "items", "users")
        ]
        for name in ("one", "two", "other")
    }
    assert tables["one"] == tables["two"] and tables["one"][0] != tables["other"][0]
    shard = "log/part-00000.jsonl"
    assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "two" / shard).read_bytes()
    # What users came for is clicked more often than one topic in twenty.
    rows = read(tmp_path / "one")
    spec = open_log(tmp_path / "one").header.spec
    topics = np.take_along_axis(rows["candidates"], rows["slate"][..., None], axis=1)[:, 0]
    topics = topics[:, spec.candidate_slice("topic")]
    assert topics.shape[1] == 20
    favourite = rows["user"][:, spec.user_slice("favourite")].argmax(axis=1)
    items = json.loads((tmp_path / "one" / "log" / "encoding.json").read_text())
    named = items["items"][0]["values"]
    liked = items["users"][0]["values"]
    same = [named[t] == liked[f] for t, f in zip(topics.argmax(axis=1), favourite, strict=True)]
    assert np.mean(same) > 0.07  # 0.05 by chance, with a deviation of about 0.006
