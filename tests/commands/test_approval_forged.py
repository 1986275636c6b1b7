"""Rows that somebody has changed in the database are no approval."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from oneoff.runtime.approvals.state import hash_of
from oneoff.testing import Manage
from tests.commands import test_approval
from tests.commands.test_approval import Request, refused, write
from tests.support.on_sqlite import ON_SQLITE

run, url, request_of = test_approval.run, test_approval.url, test_approval.request_of


@ON_SQLITE
async def test_a_row_that_was_changed_after_the_request_is_refused(
    run: Manage, url: str, request_of: Request
) -> None:
    """Its hash does not match."""
    approval = await request_of("wipe old")
    write(url, "UPDATE oneoff_approvals SET expires_at = '2999-01-01 00:00:00+00:00'")

    forged = await run(f"wipe old --approval {approval}")

    refused(forged, "approval-not-valid", "it was changed after its request")


@ON_SQLITE
@pytest.mark.parametrize(
    ("before", "forgery"),
    [
        ("approval reject {id}", ("UPDATE oneoff_approvals SET ended_as = ''", "has rejected it")),
        ("wipe old --approval {id}", ("DELETE FROM oneoff_approval_uses", "has used it")),
    ],
)
async def test_rows_that_were_changed_do_not_change_what_the_record_shows(
    run: Manage, url: str, request_of: Request, before: str, forgery: tuple[str, str]
) -> None:
    """A rejected approval is not revived, and a used one is not used again."""
    approval = await request_of("wipe old")
    assert 0 == (await run(before.format(id=approval))).exit_code
    write(url, forgery[0])

    again = await run(f"wipe old --approval {approval}")

    refused(again, "approval-not-valid", forgery[1])


@ON_SQLITE
async def test_a_row_is_no_approval_without_its_event(
    run: Manage, url: str, request_of: Request
) -> None:
    """The record holds the hash of what each person has approved."""
    approval = await request_of("wipe old")
    write(url, "UPDATE oneoff_approvals SET arguments = replace(arguments, 'old', 'new')")
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM oneoff_approvals").fetchone())
    row["expires_at"] = datetime.fromisoformat(row["expires_at"]).replace(tzinfo=UTC)
    row["standing"] = bool(row["standing"])
    write(url, f"UPDATE oneoff_approvals SET hash = '{hash_of(row)}'")

    forged = await run(f"wipe new --approval {approval}")

    refused(forged, "approval-not-valid", "approvals of these terms by 0 people")
