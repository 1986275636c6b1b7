"""`audit roles`: the application's role can add to the record, and change nothing of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from oneoff.database.tables import VERSION_TABLE, metadata
from oneoff.services.audit.roles import RIGHTS
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser


def test_each_table_of_the_framework_has_rights() -> None:
    """A new table has to be added."""
    assert {*metadata.tables, VERSION_TABLE} == RIGHTS.keys()


async def test_with_these_rights_commands_run_and_events_stay(
    manage: Manage, make_user: MakeUser
) -> None:
    """Also if the name of the role needs quotes."""
    url = manage.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        refused = await manage("audit roles app")
        assert 78 == refused.exit_code
        return
    await make_user("ada")
    role = f'app "{urlsplit(url).path[1:]}'
    quoted = '"' + role.replace('"', '""') + '"'
    printed = await manage(["audit", "roles", role])
    query(url, f"CREATE ROLE {quoted} LOGIN PASSWORD 'pw'")
    try:
        connection = await asyncpg.connect(url)
        await connection.execute(printed.stdout)
        await connection.execute(f"GRANT ALL ON users, events TO {quoted}")
        await connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {quoted}")
        await connection.close()
        parts = urlsplit(url)
        own = parts._replace(netloc=f"app%20%22{parts.path[1:]}:pw@{parts.netloc.split('@')[-1]}")

        done = await manage(
            "user promote ada admin --confirm", environ={"DATABASE_URL": own.geturl()}
        )

        assert 0 == done.exit_code, done.stderr
        app = await asyncpg.connect(own.geturl())
        for sql in ("UPDATE oneoff_audit SET kind = ''", "DELETE FROM oneoff_runs"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(sql)
        await app.close()
        assert 0 == (await manage("audit verify")).exit_code
    finally:
        query(url, f"DROP OWNED BY {quoted}")
        query(url, f"DROP ROLE {quoted}")
