"""`data import`: the first and the last row of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.imports import load, names


@pytest.mark.parametrize("options", [[], ["--on-conflict", "skip", "--key", "name"], ["--resume"]])
@pytest.mark.parametrize(
    ("last", "name"),
    [
        ('"backup, nightly"', "backup, nightly"),
        ('"say ""hi"""', 'say "hi"'),
        ('"two\nlines"', "two\nlines"),
    ],
)
async def test_quotes_are_read_in_a_last_row_that_has_no_line_feed(
    manage: Manage, tmp_path: Path, last: str, name: str, options: list[str]
) -> None:
    """They have the same meaning as in other rows."""
    path = tmp_path / "names.csv"
    path.write_bytes(f'name\n"ci"\n{last}'.encode())

    done = await load(manage, path, *options)

    assert 0 == done.exit_code, done.stderr
    assert ["ci", name] == names(manage)


@pytest.mark.parametrize(
    ("file", "text"),
    [("names.jsonl", '{}\n{"name": "ci"}\n'), ("names.json", '[{}, {"name": "ci"}]')],
)
async def test_an_empty_first_object_is_refused(
    manage: Manage, tmp_path: Path, file: str, text: str
) -> None:
    """The first object names the columns; without names, all rows would be ignored."""
    path = tmp_path / file
    path.write_text(text)

    done = await load(manage, path)

    assert 65 == done.exit_code
    assert "an object without members in line 1" in done.stderr
    assert [] == names(manage)
