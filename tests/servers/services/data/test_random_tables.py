"""A table of any shape is exported and imported without a change, or refused.

`make faults` tries many more tables than `make test`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.imports import bytes_of, execute, on_postgres
from tests.support.random_tables import Table, tables

EXAMPLES = int(os.environ.get("RANDOM_TABLES", "6"))
SUFFIXES = ("csv", "jsonl", "json", "parquet")
EXACT = ("csv", "parquet")
"""Formats that keep what JSON has not: the spaces of a text of type json, and array bounds."""
REFUSED = (2, 65)


def test_a_random_table_is_the_same_after_export_and_import(manage: Manage, tmp_path: Path) -> None:
    """The second export has the same bytes. What would change is refused, and not written."""
    outcomes: Counter[str] = Counter()
    loop = asyncio.new_event_loop()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
        derandomize="RANDOM_TABLES" not in os.environ,
    )
    @given(
        table=tables(postgresql=on_postgres(manage)),
        suffix=st.sampled_from(SUFFIXES),
        update=st.booleans(),
    )
    def check(table: Table, suffix: str, update: bool) -> None:  # noqa: FBT001
        outcomes[
            loop.run_until_complete(_trip(manage, tmp_path, table, suffix, update=update))
        ] += 1

    check()
    loop.close()

    print(dict(outcomes))
    assert outcomes["the same"] >= sum(outcomes.values()) / 2


async def _trip(manage: Manage, folder: Path, table: Table, suffix: str, *, update: bool) -> str:
    first, second = folder / f"first.{suffix}", folder / f"second.{suffix}"
    try:
        await execute(manage, table.create)
    except (asyncpg.PostgresError, sqlite3.Error):
        return "not a table"
    url = manage.environ["DATABASE_URL"]
    content = _content(manage, table)
    exported = await manage(["data", "export", table.name, "-o", str(first), "--overwrite"])
    if exported.exit_code:
        assert exported.exit_code in REFUSED, exported.stderr
        return _code(exported)
    await execute(manage, f"DELETE FROM {table.quoted}")
    words = ["--on-conflict", "update"] if update and table.has_key else []
    imported = await manage(["data", "import", table.name, str(first), "--confirm", *words])
    if imported.exit_code:
        assert imported.exit_code in REFUSED, imported.stderr
        assert [(0,)] == query(url, f"SELECT count(*) FROM {table.quoted}")
        return _code(imported)
    again = await manage(["data", "export", table.name, "-o", str(second), "--overwrite"])
    assert 0 == again.exit_code, again.stderr
    assert bytes_of(first) == bytes_of(second)
    if suffix in EXACT and not table.is_odd:
        assert content == _content(manage, table)
    return "the same"


def _code(refused: Finished) -> str:
    found = re.search(r"error\[(.*?)\]", refused.stderr)
    return found[1] if found else "no code"


def _content(manage: Manage, table: Table) -> list[Any]:
    row = "t::text" if on_postgres(manage) else "*"
    found = query(manage.environ["DATABASE_URL"], f"SELECT {row} FROM {table.quoted} t")
    return sorted(map(repr, found))
