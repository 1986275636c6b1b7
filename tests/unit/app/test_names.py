"""The one form in which names and emails are stored and looked up."""

from __future__ import annotations

import pytest

from app.names import lookup_form


@pytest.mark.parametrize(
    "text",
    [
        "ada@bücher.example",
        "ada@xn--bcher-kva.example",
        " ADA@BÜCHER.EXAMPLE ",
        "ada@bu\u0308cher.example",
        "ada@XN--BCHER-KVA.example",
        "ada@\uff42\xfccher\u3002example",
    ],
)
def test_all_spellings_of_an_address_have_one_form(text: str) -> None:
    """Punycode, upper case, decomposed letters, full-width letters and another dot."""
    assert "ada@bücher.example" == lookup_form(text)


@pytest.mark.parametrize("text", ["ada", " ADA\n", "\uff21da"])
def test_all_spellings_of_a_username_have_one_form(text: str) -> None:
    """Upper case, spaces around it, and full-width letters."""
    assert "ada" == lookup_form(text)


def test_an_address_that_the_validator_refuses_can_be_looked_up() -> None:
    """An import can have stored it."""
    assert "ada@shop.local" == lookup_form("Ada@Shop.local")


@pytest.mark.parametrize("text", ["", " ", "\ud800", "a\x00b", "ada\udcff@x.org", "a" * 255])
def test_text_that_no_name_can_equal_has_no_form(text: str) -> None:
    """The database is not asked for it."""
    assert lookup_form(text) is None
