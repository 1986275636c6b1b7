"""`data import` of csv files with quotes where csv allows none, and with other line ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.imports import load, names

INSIDE = "has a quote in line 3 inside a cell that does not start with a quote"
AFTER = "has text after the closing quote of a cell in line 3"
OPTIONS = [[], ["--on-conflict", "skip", "--key", "name"], ["--resume"], ["--rejects", "bad.csv"]]


@pytest.mark.parametrize("options", OPTIONS, ids=["copy", "staged", "resume", "rejects"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5'10\" x 6'2\"", INSIDE),
        ('["x"]', INSIDE),
        (' "x"', INSIDE),
        ('5" pipe\n6" pipe', INSIDE),
        ('"abc"def', AFTER),
        ('"x" ', AFTER),
    ],
)
async def test_a_quote_that_csv_does_not_allow_is_refused(
    manage: Manage, tmp_path: Path, line: str, problem: str, options: list[str]
) -> None:
    """COPY would remove it, and might join two lines into one row."""
    path = tmp_path / "names.csv"
    path.write_text(f'name\n"ci"\n{line}\n')

    words = [str(tmp_path / word) if word == "bad.csv" else word for word in options]
    done = await load(manage, path, *words)

    assert 65 == done.exit_code
    assert f"names.csv {problem}" in done.stderr
    assert [] == names(manage)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=["copy", "staged", "resume"])
async def test_a_carriage_return_outside_of_quotes_is_an_error(
    manage: Manage, tmp_path: Path, options: list[str]
) -> None:
    """It is part of a value for one database, and a line end for the other."""
    path = tmp_path / "names.csv"
    path.write_bytes(b"name\nci\na\rb\n")

    done = await load(manage, path, *options)

    assert 65 == done.exit_code
    assert "line 3: the row contains a carriage return outside of quotes" in done.stderr
    assert [] == names(manage)


@pytest.mark.parametrize(
    "text", ["name\nci\nbackup\r", 'name\r\nci\r\n"backup"\r'], ids=["plain", "quoted"]
)
@pytest.mark.parametrize("options", OPTIONS[:3], ids=["copy", "staged", "resume"])
async def test_a_carriage_return_alone_does_not_end_the_last_row(
    manage: Manage, tmp_path: Path, text: str, options: list[str]
) -> None:
    """It does not end any other row either."""
    path = tmp_path / "names.csv"
    path.write_bytes(text.encode())

    done = await load(manage, path, *options)

    assert 65 == done.exit_code
    assert "line 3: the row contains a carriage return outside of quotes" in done.stderr
    assert [] == names(manage)


@pytest.mark.parametrize(
    "data",
    [b"name\rci\rbackup\n", b"name\r" + b"ci\r" * 500_000, b"name\r"],
    ids=["one line feed", "large", "only a header"],
)
async def test_lines_that_end_with_a_carriage_return_alone_are_named(
    manage: Manage, tmp_path: Path, data: bytes
) -> None:
    """Even if the file has one line feed, or is larger than the longest header."""
    path = tmp_path / "names.csv"
    path.write_bytes(data)

    done = await load(manage, path)

    assert 65 == done.exit_code
    assert "names.csv ends its lines with a carriage return alone" in done.stderr


@pytest.mark.parametrize("header", ['id;"name, first";price', "id;name, first;price", '"id";"a"'])
async def test_other_separators_are_named(manage: Manage, tmp_path: Path, header: str) -> None:
    """Even if a name contains a comma, or all names are in quotes."""
    path = tmp_path / "names.csv"
    path.write_text(f'{header}\n1;"A, B";2,50\n')

    done = await load(manage, path)

    assert 65 == done.exit_code
    assert "names.csv separates columns with semicolons, not with commas" in done.stderr
