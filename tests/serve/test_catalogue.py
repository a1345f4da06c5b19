from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from algorithms.layers import ConfigError
from envs.registry import make_simulator
from envs.spec import FeatureSpec, number, vector
from offline.log.catalogue import Catalogues
from offline.log.schema import Header
from serve.asking import Reader, Wanted
from serve.catalogue import Items, load_items
from serve.keys import Keys
from serve.problem import Refused
from serve.replica import Replica
from serve.schemas import make_schemas
from serve.settings import CatalogueSection, Settings
from serve.state import prepare
from serve.token import TokenWriter
from tests.serve.test_deploy import until

SPEC = FeatureSpec(
    user=(number("age", 0, 100), vector("taste", 2, -1, 1)),
    candidate=(vector("topic", 2, -1, 1), number("price", 0, 50)),
    response=(number("click", 0, 1),),
    appeal=("taste", "topic"),
)
CSV = """id,topic_0,topic_1,price,genre,year
001,1,0,5,news,2020
b,0,1,6,sport,2021
c,-1,0,7,news,2021
d,0.5,0.5,8,film,2022
"""


def wanted(**changes: Any) -> Wanted:
    plain: dict[str, Any] = {
        "user": np.array([30, 1, 0], np.float32),
        "filters": {},
        "limit": None,
        "eligible": None,
        "excluded": (),
        "pinned": (),
    }
    return Wanted(**{**plain, **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def items(file: Path, tmp_path: Path) -> Items:
    return Items(load_items(file, SPEC, tmp_path), CatalogueSection(path="", limit=4))


def test_all_items_are_offered_with_their_features(items: Items, tmp_path: Path) -> None:
    found = items.offer(wanted())
    assert found.ids == ["001", "b", "c", "d"]
    assert found.features.tolist()[3] == [0.5, 0.5, 8]
    # The log can look them up again.
    logged = Catalogues(tmp_path, 3).features(found.catalogue, [["d", "001"]])
    assert logged.tolist() == [[[0.5, 0.5, 8], [1, 0, 5]]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"limit": 2}, ["001", "d"]),  # taste (1, 0): 1, 0, -1 and 0.5
        ({"limit": 2, "pinned": ["c"]}, ["001", "c"]),
        ({"filters": {"genre": ["news", "film"]}}, ["001", "c", "d"]),
        ({"filters": {"genre": ["news"], "year": [2021]}}, ["c"]),
        ({"eligible": ["b", "c", "unheard"]}, ["b", "c"]),
        ({"excluded": ["001"], "limit": 1}, ["d"]),
    ],
)
def test_candidates_by_filters_and_nearness(
    items: Items, changes: dict[str, Any], expected: list[str]
) -> None:
    assert items.offer(wanted(**changes)).ids == expected


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"filters": {"colour": ["red"]}}, "catalogue.filters.colour", "there are: genre, year"),
        ({"filters": {"year": ["soon"]}}, "catalogue.filters.year", "which holds int64"),
        ({"limit": 5}, "catalogue.limit", "is 5; up to 4 items are considered"),
        ({"filters": {"year": [1999]}}, "catalogue", "no item of the catalogue passes"),
    ],
)
def test_what_cannot_be_found_is_told(
    items: Items, changes: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        items.offer(wanted(**changes))
    assert refused.value.field == field


def test_without_appeal_the_order_of_the_file_counts(file: Path, tmp_path: Path) -> None:
    spec = FeatureSpec(SPEC.user, SPEC.candidate, SPEC.response)
    found = Items(load_items(file, spec, tmp_path), CatalogueSection(path="", limit=2))
    assert found.offer(wanted()).ids == ["001", "b"]


KINDS = {
    "year": pa.array([2020, 2021, 2021]),
    "big": pa.array([2**53 + 1, 2**53, 7]),
    "share": pa.array(np.array([0.1, 0.5, 0.1], np.float32)),
    "half": pa.array(np.array([0.5, 0.25, 0.5], np.float16)),
    "genre": pa.array(["news", "sport", "news"]).dictionary_encode(),
    "view": pa.array(["x", "y", None], pa.string_view()),
    "live": pa.array([True, False, None]),
    "tags": pa.array([["a"], ["b"], []]),
}


@pytest.fixture
def parquet(tmp_path: Path) -> Items:
    path = tmp_path / "items.parquet"
    own = {"id": ["a", "b", "c"], "topic": [[0.0, 1.0]] * 3, "price": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table({**own, **KINDS}), path)
    return Items(load_items(path, SPEC, tmp_path), CatalogueSection(path="", limit=4))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("year", [2021.0], ["b", "c"]),
        ("big", [2**53 + 1], ["a"]),
        ("share", [0.1], ["a", "c"]),
        ("half", [0.25, 1], ["b"]),
        ("genre", ["news"], ["a", "c"]),
        ("view", ["y"], ["b"]),
        ("live", [False], ["b"]),
    ],
)
def test_columns_of_all_kinds_are_filtered_by(
    parquet: Items, column: str, values: list[Any], expected: list[str]
) -> None:
    assert parquet.offer(wanted(filters={column: values})).ids == expected


@pytest.mark.parametrize(
    ("column", "values"),
    [("year", [1.5]), ("year", [2**80]), ("genre", [3]), ("live", ["yes"]), ("tags", ["a"])],
)
def test_values_that_a_column_cannot_hold_are_refused(
    parquet: Items, column: str, values: list[Any]
) -> None:
    with pytest.raises(Refused, match=column):
        parquet.offer(wanted(filters={column: values}))


@pytest.mark.parametrize(
    ("asks", "shown"),
    [
        ({"eligible": ["b", "c"], "catalogue": {"filters": {"year": [2021]}}}, {"b", "c"}),
        ({"eligible": ["b", "c", "d"], "catalogue": {"limit": 1}}, {"d"}),
        ({"eligible": ["001", "d"], "excluded": ["001"]}, {"d"}),
        ({"eligible": ["c", "unheard"]}, {"c"}),
    ],
)
def test_eligible_ids_choose_among_the_items_on_the_server(
    items: Items, asks: dict[str, Any], shown: set[str]
) -> None:
    history = make_simulator("boredom", 1).history
    reader = Reader(SPEC, TokenWriter(Keys((b"k" * 32,)), history.version, history.size, 3), items)
    schemas = make_schemas(SPEC, Settings().limits, catalogue=True)
    request = {"user": {"age": 30, "taste": [1, 0]}, "slate_size": 1, **asks}
    asked = reader.ask(schemas.parse(schemas.recommend, json.dumps(request).encode()))
    assert {name for name, able in zip(asked.offer.ids, asked.mask, strict=True) if able} == shown


def test_parquet_holds_vectors_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    table = pa.table({"id": ["a"], "topic": [[0.25, -1.0]], "price": [3.0], "live": [True]})
    pq.write_table(table, path)
    found = Items(load_items(path, SPEC, tmp_path), CatalogueSection(path="", limit=4))
    assert found.offer(wanted(filters={"live": [True]})).features.tolist() == [[0.25, -1, 3]]


def test_an_item_without_an_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": ["a", None], "topic": [[0.0, 1.0]] * 2, "price": [1, 2]}), path)
    with pytest.raises(ConfigError, match="an item without an id"):
        load_items(path, SPEC, tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read the catalogue"),
        ("name,price\na,3\n", "has no column 'id'"),
        ("id,price\na,3\n", "has no column 'topic_0'; add the feature"),
        ("id,topic_0,topic_1,price\na,0,0,60\n", "'price' of item 'a'; allowed are 1 from 0 to 50"),
        ("id,topic_0,topic_1,price\na,0,0,x\n", "something else than 1 numbers an item in 'price'"),
        ("id,topic_0,topic_1,price\na,0,0,\n", "'price' of item 'a'"),
        ("id,topic_0,topic_1,price\na,0,0,1\na,0,0,1\n", "as many different ids"),
        ("id,topic_0,topic_1,price\n", "has no items"),
    ],
)
def test_bad_catalogues_are_told_in_a_sentence(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    path = tmp_path / "items.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load_items(path, SPEC, tmp_path)


def csv_of(ids: list[str]) -> str:
    names = ",".join(f"features_{column}" for column in range(20))
    return f"id,{names}\n" + "".join(f"{name},{','.join(['0.5'] * 20)}\n" for name in ids)


def test_a_catalogue_is_replaced_while_serving(tmp_path: Path, header: Header) -> None:
    state, path = tmp_path / "serving", tmp_path / "items.csv"
    path.write_text(csv_of(["a", "b"]))
    prepare(state, "random")
    settings = Settings(watch_seconds=0.01, catalogue=CatalogueSection(path=str(path)))
    replica = Replica(state, settings)
    replica.start()
    schemas = make_schemas(header.spec, settings.limits, catalogue=True)

    def shown(**changes: Any) -> set[str]:
        request = {"user": {"interests": [0.1] * 20}, "slate_size": 2, **changes}
        parsed = schemas.parse(schemas.recommend, json.dumps(request).encode())
        (answer,) = replica.engine.recommend([replica.engine.reader.ask(parsed)])
        return {answer.turn.asked.offer.ids[position] for position in answer.drawn.slate}

    assert shown() == {"a", "b"}
    path.write_text(csv_of(["c", "d"]))  # d is cold: nothing but its features is known
    until(lambda: shown() == {"c", "d"})
    path.write_text("nonsense")
    assert shown() == {"c", "d"}  # whatever is wrong with the new file
    with pytest.raises(Refused, match=r"^candidates and catalogue are both given"):
        inline = [{"id": "x", "features": {"features": [0.0] * 20}}] * 1
        shown(candidates=inline, catalogue={"limit": 1})
    with pytest.raises(Refused, match=r"pinned\[0\].id is 'a', which is no candidate"):
        shown(pinned=[{"slot": 0, "id": "a"}])
    replica.stop()
    lines = [
        json.loads(line)
        for file in (state / "log").glob("impressions-*")
        for line in file.read_text().splitlines()
    ]
    assert lines[0]["candidates"] is None
    assert (state / "log" / f"catalogue-{lines[0]['catalogue']}.jsonl").exists()
    assert lines[0]["catalogue"] != lines[-1]["catalogue"]
