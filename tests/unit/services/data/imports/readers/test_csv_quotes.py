"""Quotes that csv does not allow are found, wherever blocks end."""

from __future__ import annotations

import pytest

from oneoff.services.data.imports.readers.csv_quotes import BadQuote, QuoteScanner

ALLOWED = [
    b"",
    b'id,"a b"\n"1",""\n',
    b'"a""b","""",""""""\n',
    b'"two\nlines","a,b"\r\n"x"\r\n',
    b'"the last row has no line feed"',
    b'"a cell of a comma and a quote: ,""",x\n',
]
NOT_ALLOWED = [
    (b"a,5'10\" x 6'2\"\n", BadQuote(6)),
    (b'a,["x"]\n', BadQuote(3)),
    (b'a, "x"\n', BadQuote(3)),
    (b'a,b""c\n', BadQuote(3)),
    (b'a,"b"c\n', BadQuote(4, 2)),
    (b'"b" ,a\n', BadQuote(2, 0)),
    (b'"b"\r"a"\n', BadQuote(4)),
    (b'1,5" pipe,z\n2,6" pipe,y\n', BadQuote(3)),
    (b'"tags: a,"b",c"\n', BadQuote(9, 0)),
    (b'id\n"open\n2\n"x"\n', BadQuote(11, 3)),
    (b'a,"b\n', BadQuote(2, 2, closed=False)),
    (b'a,"b""\n', BadQuote(2, 2, closed=False)),
]


def scanned(data: bytes, size: int) -> BadQuote | None:
    """Scan blocks of this size, and return the first quote that is not allowed."""
    scanner = QuoteScanner()
    for at in range(0, len(data), size):
        scanner.scan(data[at : at + size])
    return scanner.finish()


@pytest.mark.parametrize("data", ALLOWED)
def test_cells_in_quotes_are_allowed(data: bytes) -> None:
    """Also with doubled quotes, commas and line ends in them."""
    assert [None] * 8 == [scanned(data, size) for size in range(1, 9)]


@pytest.mark.parametrize(("data", "bad"), NOT_ALLOWED)
def test_the_first_quote_that_is_not_allowed_is_found(data: bytes, bad: BadQuote) -> None:
    """With the quote that opens its cell, if there is one."""
    assert [bad] * 8 == [scanned(data, size) for size in range(1, 9)]
