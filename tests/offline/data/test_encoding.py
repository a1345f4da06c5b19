"""Columns as numbers, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from algorithms.layers import ConfigError
from offline.data.declaring import Declared, described, infer, read_declared, write_declared
from offline.data.encoders import CellError, Embedded, Hashed, Listed, Number, bucket
from offline.data.encoding import Encoding, time_of_day
from offline.log import LogError

ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c", "d"],
        "price": ["1", "2", "", "6"],
        "brand": ["x", "y", "x", ""],
        "genres": ["war|drama", "war", "drama|", ""],
    }
)


def test_numbers_by_hand() -> None:
    cells = pa.array(["1", "2", "", "6"])
    # Mean 3, deviation sqrt((4 + 1 + 9) / 3); what is missing is the mean.
    expected = np.array([-2.0, -1.0, 0.0, 3.0]) / np.sqrt(14 / 3)
    found = Number.fit("price", cells, "standard")
    assert found.apply(cells)[:, 0] == pytest.approx(expected)
    small = Number.fit("price", cells, "minmax")
    assert small.apply(cells)[:, 0] == pytest.approx([0, 0.2, 0.4, 1])
    # Later ones stay in the range that is declared.
    assert small.apply(pa.array(["-4", "11"]))[:, 0].tolist() == [0, 1]
    assert Number.fit("price", cells, "none").apply(cells)[:, 0].tolist() == [1, 2, 3, 6]
    constant = pa.array(["5", "5"])
    assert Number.fit("price", constant, "standard").apply(constant)[:, 0].tolist() == [0, 0]


def test_categories_by_hand() -> None:
    one = Listed.fit("brand", ITEMS["brand"])
    assert one.values == ("x", "y")
    assert one.apply(ITEMS["brand"]).tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]
    assert one.apply(pa.array(["z"])).tolist() == [[0, 0]]
    several = Listed.fit("genres", ITEMS["genres"], "|")
    assert several.values == ("drama", "war")
    assert several.apply(ITEMS["genres"]).tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    ids = Embedded.fit("brand", ITEMS["brand"])
    assert ids.apply(pa.array(["y", "x", "", "z"])).tolist() == [[1], [0], [-1], [-1]]
    assert ids.feature.kind == "id" and ids.feature.high == 1


def test_hashes_are_the_same_everywhere() -> None:
    # int.from_bytes(blake2b(text, digest_size=8), "big") % 10
    assert [bucket(text, 10) for text in ("war", "drama")] == [1, 5]
    found = Hashed("genres", 10, "|").apply(ITEMS["genres"])
    assert found.nonzero()[1].tolist() == [1, 5, 1, 5]
    assert found.nonzero()[0].tolist() == [0, 0, 1, 2]
    assert Hashed("brand", 10).apply(pa.array(["war"])).tolist() == [[0, 1] + [0] * 8]


def test_the_clock_by_hand() -> None:
    # Midnight, six in the morning, noon.
    found = time_of_day(np.array([0.0, 21_600.0, 86_400.0 * 3 + 43_200.0]))
    assert found == pytest.approx(np.array([[0, 1], [1, 0], [0, -1]]), abs=1e-6)


def test_an_encoding_survives_and_encodes_new_items_alike(tmp_path: Path) -> None:
    users = pa.table({"user_id": ["u"], "plan": ["free"]})
    encoding = Encoding.fit(infer(ITEMS, users), ITEMS, users)
    encoding.save(tmp_path)
    loaded = Encoding.load(tmp_path)
    assert loaded.spec == encoding.spec and loaded.history.version == encoding.history.version
    assert (loaded.encode_items(ITEMS) == encoding.encode_items(ITEMS)).all()
    # As a server gets it: plain values, columns in any order, some of them missing.
    fresh = loaded.encode_items({"genres": ["war"], "price": [2]})
    known = encoding.encode_items(ITEMS)[1]
    assert fresh[0].tolist() == [known[0], 0, 0, *known[3:]]


def test_what_is_inferred() -> None:
    many = [f"shop {n % 100}" for n in range(400)]
    table = pa.table(
        {
            "item_id": [str(n) for n in range(400)],
            "price": [str(n) for n in range(400)],
            "shop": many,
            "colour": ["red", "blue"] * 200,
            "tags": ["a;b", "b"] * 200,
            "title": [f"A tale of {n}" for n in range(400)],
            "nothing": [""] * 400,
        }
    )
    found = infer(table, None).items
    kinds = {name: (one.type, one.encoding, one.buckets) for name, one in found.items()}
    assert kinds == {
        "price": ("number", None, None),
        "shop": ("category", "hashed", 64),
        "colour": ("category", "one_hot", None),
        "tags": ("categories", "one_hot", None),
        "title": ("text", None, None),
        "nothing": ("text", None, None),
    }
    assert found["tags"].separator == ";"
    only_ids = infer(table.select(["item_id", "title"]), None).items
    assert only_ids["item_id"].encoding == "hashed"


def test_the_inferred_file_reads_back(tmp_path: Path) -> None:
    declared = infer(ITEMS, None)
    write_declared(tmp_path / "columns.yaml", declared)
    assert read_declared(tmp_path / "columns.yaml", {"items": ITEMS}) == declared
    assert "separator: '|'" in described(declared)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("item: {}", "unknown key 'item'; did you mean 'items'?"),
        ("items: {prize: {type: number}}", "items.prize is no column of the table; did you mean"),
        ("items: {price: {type: number, scal: minmax}}", "unknown key 'items.price.scal'; did you"),
        ("items: {price: {type: real}}", "items.price.type is real; it must be 'number'"),
        ("items: {price: {type: number, buckets: 4}}", "a column of type number has no buckets"),
        ("items: {brand: {type: category, encoding: hashed}}", "go together; give both"),
        ("items: {brand: {type: category, buckets: 8}}", "go together; give both"),
        ("items: {genres: {type: categories, encoding: embedded}}", "cannot be embedded"),
        ("items: {brand: {scale: none}}", "items.brand.type is missing"),
        ("users: {plan: {type: text}}", "'users' are declared, but no such table is given"),
        ("history: 3", "'history' must hold a list of terms"),
        ("history: [{what: item, kept: 1}]", "unknown key 'history.0.kept'"),
        ("items: {price: {type: number}, price: {type: text}}", "line 1: the key 'price' stands"),
    ],
)
def test_mistakes_in_the_declaration(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "columns.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_declared(tmp_path / "columns.yaml", {"items": ITEMS})
    assert sentence in str(error.value) and str(tmp_path / "columns.yaml") in str(error.value)


def test_declared_history_is_what_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "columns.yaml"
    path.write_text("items: {brand: {type: category}}\nhistory: [{what: brand, keep: last}]\n")
    encoding = Encoding.fit(read_declared(path, {"items": ITEMS}), ITEMS)
    assert encoding.history.to_json() == [{"what": "brand", "keep": "last", "scale": 1.0}]


def test_mistakes_in_cells_and_files(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="'price' is 'cheap'; it must be a finite number") as error:
        Number.fit("price", pa.array(["1", "", "cheap"]), "none")
    assert error.value.row == 2
    with pytest.raises(CellError, match="'price' is 'inf'"):
        Number.fit("price", pa.array(["inf"]), "none")
    with pytest.raises(LogError, match="no column of the items is declared"):
        Encoding.fit(Declared({}, {}), ITEMS)
    with pytest.raises(LogError, match="cannot read the encoding"):
        Encoding.load(tmp_path)
    (tmp_path / "encoding.json").write_text('{"schema_version": 1}')
    with pytest.raises(LogError, match="is damaged"):
        Encoding.load(tmp_path)
    (tmp_path / "encoding.json").write_text('{"schema_version": 9}')
    with pytest.raises(LogError, match="of schema version 9"):
        Encoding.load(tmp_path)
