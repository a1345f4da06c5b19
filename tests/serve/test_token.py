from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serve import impressions
from serve.keys import KeyFault, Keys, from_text, make_keys, to_text
from serve.problem import Refused
from serve.token import Session, TokenWriter

OLD, NEW = b"an old secret of ours", b"a new secret of ours"
SESSION = Session(
    identity=bytes(range(16)),
    step=7,
    time=1_700_000_000.25,
    history=np.array([1.5, -0.1, 3e38], np.float32),
    shown=np.array([[1, 2], [3, 4]], np.float32),
    impression=bytes(28),
)


def writer(*secrets: bytes, version: str = "0123456789ab") -> TokenWriter:
    return TokenWriter(Keys(secrets), version, columns=3, width=2)


def test_a_token_reads_back_bit_by_bit() -> None:
    found = writer(NEW).read(writer(NEW).write(SESSION))
    assert (found.identity, found.step, found.time) == (bytes(range(16)), 7, 1_700_000_000.25)
    assert found.impression == bytes(28)
    np.testing.assert_array_equal(found.history, SESSION.history)
    np.testing.assert_array_equal(found.shown, SESSION.shown)


def test_a_token_is_small() -> None:
    # 41 of the head, 28 of the impression, 3 + 4 floats, 16 of the signature: 113 bytes.
    assert len(writer(NEW).write(SESSION)) == 151


def test_the_longest_token_is_known() -> None:
    assert writer(NEW).longest(2) == 151
    shown = np.ones((50, 2), np.float32)
    text = writer(NEW).write(replace(SESSION, shown=shown))
    assert writer(NEW).longest(50) == len(text)


def test_any_change_of_a_token_is_refused() -> None:
    text = writer(NEW).write(SESSION)
    for place in range(len(text)):
        changed = text[:place] + ("B" if text[place] == "A" else "A") + text[place + 1 :]
        with pytest.raises(Refused, match="session is no token of this server"):
            writer(NEW).read(changed)


@pytest.mark.parametrize("text", ["A", "AAAA", "%%%%", "ä", "A" * 9999, "AQ=="])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no token of this server"):
        writer(NEW).read(text)


def test_keys_are_rotated_without_breaking_sessions() -> None:
    before = writer(OLD).write(SESSION)
    assert writer(NEW, OLD).read(before).step == 7
    after = writer(NEW, OLD).write(SESSION)
    assert writer(NEW).read(after).step == 7
    with pytest.raises(Refused):
        writer(OLD).read(after)


def test_a_token_of_another_history_is_told_apart_from_a_forged_one() -> None:
    text = writer(NEW).write(SESSION)
    with pytest.raises(Refused, match="history version 0123456789ab, and this server keeps ba98"):
        writer(NEW, version="ba9876543210").read(text)


def test_an_impression_id_tells_its_slots_to_whoever_has_the_key() -> None:
    text = impressions.text_of(impressions.make(Keys([NEW]), 3, b"twelve bytes"))
    assert len(text) == 38
    assert impressions.slots_of(Keys([OLD, NEW]), text) == 3
    with pytest.raises(Refused, match="impression_id is none of this server"):
        impressions.slots_of(Keys([OLD]), text)


def test_any_change_of_an_impression_id_is_refused() -> None:
    text = impressions.text_of(impressions.make(Keys([NEW]), 3, b"twelve bytes"))
    for place in range(len(text)):
        changed = text[:place] + ("B" if text[place] == "A" else "A") + text[place + 1 :]
        with pytest.raises(Refused):
            impressions.slots_of(Keys([NEW]), changed)
    for other in ("", "AA", text[:-1], text + "A", text + "=", f" {text}"):
        with pytest.raises(Refused):
            impressions.slots_of(Keys([NEW]), other)


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    keys = Keys([NEW])
    assert keys.sign("session", b"data", 16) != keys.sign("impression", b"data", 16)


def test_text_reads_back_only_as_it_was_written() -> None:
    assert to_text(b"\xfb\xff\x00") == "-_8A"
    assert from_text("-_8A") == b"\xfb\xff\x00"
    for other in ("-_8A=", "+/8A", "-_8B\n", "AB"):  # AB has bits that belong to no byte
        with pytest.raises(ValueError, match=r".*"):
            from_text(other)


def test_keys_come_from_a_file_or_the_environment(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "keys"
    make_keys(file)
    first = file.read_bytes()
    make_keys(file)  # keeps what is there
    assert file.read_bytes() == first
    assert file.stat().st_mode & 0o777 == 0o600
    made = Keys.find(file).sign("x", b"", 8)
    assert made == Keys([first.strip()]).sign("x", b"", 8)
    monkeypatch.setenv("RECSIM_SERVE_KEYS", "0123456789abcdef, fedcba9876543210")
    assert Keys.find(file).sign("x", b"", 8) == Keys([b"0123456789abcdef"]).sign("x", b"", 8)


@pytest.mark.parametrize(
    ("secrets", "words"),
    [([], "there is no key"), ([b"short"], "has 5 bytes; give at least 16")],
)
def test_bad_keys_are_refused(secrets: list[bytes], words: str) -> None:
    with pytest.raises(KeyFault, match=words):
        Keys(secrets)


def test_keys_that_cannot_be_read_are_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KeyFault, match="cannot read the keys"):
        Keys.find(tmp_path / "nothing")
