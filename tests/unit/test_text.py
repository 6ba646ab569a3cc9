"""Words for people: what of a foreign text may stand in a message."""

from __future__ import annotations

import pytest

from confusius_datasets._text import list_some, quote_short, shorten


@pytest.mark.parametrize(
    ("saying", "shown"),
    [
        ("Not found", "Not found"),
        ("two\n  lines\tof it ", "two lines of it"),
        ("\x1b[2J\x07red", "\\x1b[2J\\x07red"),
        ("\ud800", "\\ud800"),
        ("a" * 200, "a" * 200),
        ("a" * 201, "a" * 199 + "…"),
        (ValueError("wrong"), "wrong"),
    ],
)
def test_foreign_text_is_one_short_line_that_moves_no_cursor(saying: object, shown: str) -> None:
    """Of what a host or a file says, a message has 200 characters at most, all printable."""
    assert shorten(saying) == shown


def test_items_of_a_list_are_short_too() -> None:
    """Ten names of a million letters each make no message of ten million."""
    assert len(list_some(["a" * 1_000_000] * 20)) < 11 * 202


def test_value_without_a_text_is_shown_by_its_type() -> None:
    """Python refuses to write numbers of many digits, and lists that are nested too deeply."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]

    assert quote_short(10**5000) == "<int>"
    assert quote_short(nested) == "<list>"
