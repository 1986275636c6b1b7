"""`data import` into PostgreSQL: the line of a bad row in a file with line ends inside quotes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from oneoff.testing import Manage
from tests.support.fixture_types import Sessions
from tests.support.imports import bytes_of

pytestmark = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

FILES = {
    "the first row": ("id,s", '1,"first\nnote\nof three lines"', "2,b", "3,c", "x,d"),
    "the header": ('id,"s\n"', "1,b", "x,c"),
    "every row": ("id,s", *(f'{n},"a\nb\n"' for n in range(9)), 'x,"\n"', '9,"\n"'),
    "first as on Windows": ("id,s", '1,"a\r\nb\r\n"', "2,b", "x,c", "3,d"),
    "a lone return": ("id,s", '1,"a\rb"', '2,"\r\r"', "3,c", 'x,"\rd"', "4,e"),
    "all of them": ("id,s", '1,"\n\r\r\n\n"', '2,"\r\n\r"', 'x,"\n\r"', '4,"\r"', "5,\n"),
}


@pytest.fixture(autouse=True)
async def notes(sessions: Sessions) -> None:
    """Create a table of numbers and texts."""
    async with sessions() as session:
        await session.execute(text('CREATE TABLE notes (id int, s text, "s\n" text)'))
        await session.commit()


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("kind", FILES)
async def test_the_error_has_the_line_number_that_an_editor_shows(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, end: str
) -> None:
    """For each kind of line end, wherever quotes contain line ends, and in any block or batch."""
    monkeypatch.setattr("oneoff.services.data.imports.source.BLOCK", 32)
    data = end.join([*FILES[kind], ""])
    path = tmp_path / "a.csv"
    path.write_bytes(data.encode())
    line = data.partition(f"{end}x,")[0].count("\n") + 2

    for words in ([], ["--resume"], ["--resume", "--batch-size", "2", "--new-run"]):
        done = await manage(["data", "import", "notes", str(path), *words, "--confirm"])

        assert 65 == done.exit_code, done.stderr
        assert f"a.csv, line {line}, column id: 'x' is not a valid integer\n" in done.stderr


async def test_an_unquoted_carriage_return_is_an_error(manage: Manage, tmp_path: Path) -> None:
    """Even in the first row, where the server could read it as the file's line end.

    With --rejects the row is rejected.
    """
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,s\n1,a\rb\n2,"\n"\n')

    line = f"data import notes {path} --confirm"

    refused = await manage(line)
    done = await manage(f"{line} --rejects {path}.bad")

    assert 65 == refused.exit_code
    assert "a.csv, line 2: the row contains a carriage return outside of quotes" in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert b"id,s\n1,a\rb\n" == bytes_of(Path(f"{path}.bad"))
