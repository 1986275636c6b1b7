"""The record is read as it was at one moment, although runs and archives go on."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oneoff.services.audit import export, verify
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
PAGE_OF_ONE = "oneoff.services.audit.verify.PAGE"


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
@pytest.mark.parametrize("line", ["audit verify", "audit export -o {folder}/export.jsonl"])
async def test_an_archive_that_ends_meanwhile_is_not_seen(
    manage: Manage,
    make_user: MakeUser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    """It would look like removed events, and leave a gap in an export."""
    await make_user("ada")
    read_events = verify.read_events
    archived: list[int] = []
    monkeypatch.setattr(PAGE_OF_ONE, 1)

    async def archive_after_the_first(connection: Any, **options: Any) -> AsyncIterator[Any]:
        monkeypatch.setattr(export, "read_events", read_events)
        async for event in read_events(connection, **options):
            yield event
            if not archived:
                archive = f"audit archive --before {TOMORROW} --confirm -o {tmp_path}/old.jsonl"
                run = asyncio.create_task(manage(archive), context=contextvars.Context())
                archived.append((await run).exit_code)

    monkeypatch.setattr(verify, "read_events", archive_after_the_first)
    monkeypatch.setattr(export, "read_events", archive_after_the_first)
    done = await manage(line.format(folder=tmp_path))

    assert (0, [0]) == (done.exit_code, archived), done.stderr
    if "export" in line:
        exported = (tmp_path / "export.jsonl").read_text().splitlines()
        numbers = [json.loads(one)["seq"] for one in exported]
        assert [*range(1, len(numbers) + 1)] == numbers
