"""Old events are moved to a file, and what is left can still be verified."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from oneoff.runtime.terminal import Terminal
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    import pytest

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "audit.md"


def count(manage: Manage, table: str) -> int:
    """Return the number of rows in one of the framework's tables."""
    (number,) = query(manage.environ["DATABASE_URL"], f"SELECT count(*) FROM oneoff_{table}")[0]
    return int(number)


def verifier(folder: Path) -> Path:
    """Write the program that the documentation shows to a file."""
    blocks = PAGE.read_text().split("```python\n")[1:]
    file = folder / "verify.py"
    file.write_text(blocks[0].split("```")[0])
    return file


async def test_archived_runs_are_in_the_file_and_the_rest_verifies(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """Two archives, one after the other; each begins where the one before it ended."""
    await make_user("ada")
    for number in (1, 2):
        await manage("user promote ada admin --confirm")
        await manage(["shell", "--write", "--confirm", "-c", "print(1)"])
        file = tmp_path / f"{number}.jsonl"
        line = f"audit archive --before {TOMORROW} -o {file}"
        planned = await manage(f"{line} --dry-run --json")
        before = count(manage, "audit")

        done = await manage(f"{line} --confirm --json")

        assert 0 == done.exit_code, done.stderr
        lines = [json.loads(one) for one in file.read_text().splitlines()]
        assert planned.json["rows"] + 2 == done.json["rows"] == len(lines)  # the dry run itself
        assert before + 3 - len(lines) == count(manage, "audit")  # intended, archived, closed
        verified = await manage("audit verify --json")
        assert 0 == verified.exit_code, verified.stderr
        assert lines[-1]["seq"] == verified.json["data"]["archived_events"]
    assert 2 == count(manage, "runs")  # the archive and the verification


async def test_a_file_that_exists_is_not_replaced_and_nothing_is_deleted(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """The file is written before the rows are deleted."""
    await make_user("ada")
    file = tmp_path / "kept.jsonl"
    file.write_text("mine")
    before = count(manage, "audit")

    refused = await manage(f"audit archive --before {TOMORROW} --confirm -o {file}")

    assert 0 != refused.exit_code
    assert ("mine", before + 2) == (file.read_text(), count(manage, "audit"))


async def test_the_program_in_the_documentation_verifies_an_export(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """It agrees with `audit verify`, and finds a changed, a missing and a moved event."""
    await make_user("ada")
    await manage("user promote ada admin --confirm")
    file = tmp_path / "audit.jsonl"
    await manage(f"audit export -o {file}")
    lines = file.read_text().splitlines(keepends=True)
    program = verifier(tmp_path)

    def run(*given: str) -> str:
        file.write_text("".join(given))
        done = subprocess.run(
            [sys.executable, str(program), str(file)], capture_output=True, text=True, check=False
        )
        return f"{done.returncode} {done.stdout}"

    last = json.loads(lines[-1])
    assert f"0 {len(lines)} events, head {last['seq']}:{last['hash']}\n" == run(*lines)
    assert "1 event 3 was changed\n" == run(
        *lines[:2], lines[2].replace("succeeded", "failed"), *lines[3:]
    )
    assert "1 event 4 does not follow event 2\n" == run(*lines[:2], *lines[3:])
    assert run(lines[0], lines[2], lines[1], *lines[3:]).startswith("1 event 3 does not follow")


@ON_SQLITE
async def test_an_export_whose_reader_stops_says_so(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `data export` does: it is no error, and the record shows that not all was written."""

    def reader_is_gone(terminal: Terminal, _data: bytes) -> bool:
        terminal.has_data = True
        return False

    monkeypatch.setattr(Terminal, "out_bytes", reader_is_gone)

    done = await manage("audit export")

    said = "stopped exporting: the reader closed the output"
    assert (0, True) == (done.exit_code, f"{said}\n" in done.stderr), done.stderr
    sql = "SELECT message FROM oneoff_runs WHERE command = 'audit export'"
    assert [(said,)] == query(manage.environ["DATABASE_URL"], sql)


async def test_events_of_one_operator_can_be_exported_as_csv(
    manage: Manage, make_user: MakeUser
) -> None:
    """The header names the columns of the table."""
    await make_user("ada")
    await manage("user promote ada admin --confirm", environ={"OPERATOR": "grace"})

    done = await manage("audit export --format csv --operator grace --since 1h")

    header, *lines = done.stdout.splitlines()
    assert "seq,kind,run_id,previous,hash,event" == header
    assert ["intended", "closed"] == [line.split(",")[1] for line in lines]
