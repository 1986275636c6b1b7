"""Warnings of a run are shown however it ends."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from oneoff.testing import Manage
from tests.support.fixture_types import Sessions

COPY = "this database is a copy of one in test"


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("user list", 0),
        ("user promote ada admin --confirm", 1),
        ("user promote ada admin", 1),
        ("system maintenance on", 77),
        ("migrate --check", 0),
    ],
)
async def test_a_warning_of_the_run_is_shown_however_the_run_ends(
    manage: Manage, sessions: Sessions, line: str, exit_code: int
) -> None:
    """As text and in JSON. It may be the cause of the failure."""
    async with sessions() as session:
        await session.execute(text("UPDATE oneoff_environment SET cluster_identity = '1@2:9/9'"))
        await session.commit()

    shown = await manage(line)
    in_json = await manage(f"{line} --json")

    assert (exit_code, exit_code) == (shown.exit_code, in_json.exit_code), shown.stderr
    assert 1 == shown.stderr.count(f"warning: {COPY}")
    assert 1 == sum(warning.startswith(COPY) for warning in in_json.json["warnings"])
