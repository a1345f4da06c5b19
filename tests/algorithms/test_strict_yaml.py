import math

import pytest

from algorithms.strict_yaml import YamlError, dump, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3_000_000", 3_000_000),
        ("3e6", 3_000_000),  # a whole number of steps, not a float
        ("1.0", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("'5'", "5"),
        ("true", True),
        ("", None),
        ("[1, 2e-1]", [1, 0.2]),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = load(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands there twice"),
        ("a: {b: 1, b: 2}", "the key 'b' stands there twice"),
        ("1: 2", "the key 1 is not a word"),
        ("a: [1", "line 1: not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_what_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        load(text)
    assert "\n" not in str(caught.value)


def test_what_is_dumped_is_read_back_unchanged() -> None:
    data = {
        "words": ["no", "1e-3", "null", "012", "2026-01-01", "true", ".5", ""],
        "numbers": [1e-05, 3.0, 0, -math.inf],
        "nothing": None,
        "nested": {"deep": {"list": [{"a": 1}]}},
    }
    assert load(dump(data)) == data
