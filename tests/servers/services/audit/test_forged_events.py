"""`verify` does not believe events that somebody has added by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.database.tables import audit, runs
from oneoff.runtime.audit.chain import add_event
from oneoff.services.audit.verify import verify
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser, Sessions

FORGED: dict[str, tuple[str, dict[str, Any]]] = {
    "a closed event that names another operator": ("closed", {"operator": "eve"}),
    "an archive that kept the run": ("archived", {"last_seq": 0, "last_hash": "", "kept": True}),
}


@pytest.mark.parametrize("name", FORGED)
async def test_an_added_event_does_not_hide_a_changed_run(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str], name: str
) -> None:
    """The role of an application may add events."""
    await make_user("ada")
    kind, facts = FORGED[name]
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="look")
    async with database.connect() as connection:
        run_id = await connection.scalar(select(runs.c.id).where(runs.c.command == "user create"))
        if "kept" in facts:
            facts = facts | {"kept": [run_id], "began": {"at": "9999", "runs": 0}}
        change = update(runs).where(runs.c.id == run_id).values(operator="eve")
        await add_event(connection, kind, {"run_id": run_id, **facts}, change=change)
        done = await verify(connection)
    await database.dispose()

    assert {f"run {run_id}"} == {finding.place for finding in done.findings}


async def test_an_event_that_is_no_json_is_a_finding(manage_environ: dict[str, str]) -> None:
    """Not a failure of the verification."""
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="look")
    async with database.connect() as connection:
        number = (await connection.scalar(select(func.max(audit.c.seq))) or 0) + 1
        row = dict.fromkeys(("kind", "previous", "hash"), "-") | {"run_id": "", "event": "{"}
        await connection.execute(insert(audit).values(seq=number, **row))
        done = await verify(connection)
    await database.dispose()

    assert [f"event {number}"] == [finding.place for finding in done.findings]


async def test_runs_from_before_the_chain_stay_when_their_end_is_archived(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """An upgrade finds them, closes the dead ones, and can't say more of them than their number.

    The clock that recorded one of them was ahead.
    """
    row = {
        **dict.fromkeys(("command", "argv", "access", "operator", "operator_source"), "[]"),
        **dict.fromkeys(("environment", "host"), "x"),
        "id": "old",
        "dry_run": False,
        "status": "started",
        "pid": 1,
        "started_at": datetime(2020, 1, 1, tzinfo=UTC),
    }
    ahead = {"id": "ahead", "started_at": datetime.now(UTC) + timedelta(minutes=10)}
    async with sessions() as session:
        for table in ("audit", "approvers", "approvals", "approval_uses"):
            await session.execute(text(f"DROP TABLE oneoff_{table}"))
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(
                text("DROP FUNCTION oneoff_audit_append(), oneoff_audit_refuse()")
            )
        await session.execute(text("DROP INDEX ix_oneoff_runs_break_glass"))
        await session.execute(text("UPDATE oneoff_alembic_version SET version_num = '0005'"))
        await session.execute(text("DELETE FROM oneoff_runs"))
        await session.execute(insert(runs), [row, row | ahead])
        await session.commit()
    await manage("migrate")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()

    archived = await manage(f"audit archive --before {tomorrow} -o {tmp_path}/a.jsonl --confirm")
    verified = await manage("audit verify --json")

    assert (0, 0) == (archived.exit_code, verified.exit_code), archived.stderr + verified.stderr
    assert 2 == verified.json["data"]["earlier_runs"]
    async with sessions() as session:
        assert "abandoned" == await session.scalar(select(runs.c.status).where(runs.c.id == "old"))
        await session.execute(insert(runs).values(row | ahead | {"id": "forged"}))
        await session.commit()
    forged = await manage("audit verify")
    assert (3, True) == (forged.exit_code, "it was inserted by hand" in forged.stdout)
