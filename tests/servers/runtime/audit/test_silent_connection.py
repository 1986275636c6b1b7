"""The row of a run is closed although the connection that wrote it does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.servers import Postgres, Proxy
from tests.support.servers.proxy import Fate

if TYPE_CHECKING:
    import pytest


async def test_after_a_while_the_row_is_closed_on_a_new_connection(
    manage_project: tuple[str, str],
    migrated_postgres: str,
    postgres_server: Postgres,
    postgres_proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first connection would answer later than `CLOSE_TIME`."""
    monkeypatch.setattr("oneoff.runtime.audit.record.CLOSE_TIME", 0.1)
    held: list[bytes] = []

    def hold_the_first_closing(message: bytes) -> Fate:
        if held or b"UPDATE oneoff_runs" not in message:
            return Fate.PASS
        held.append(message)
        return Fate.HOLD

    postgres_proxy.decide(hold_the_first_closing)
    with postgres_server.database(migrated_postgres) as name:
        url = postgres_server.url(name)
        environ = {"DATABASE_URL": postgres_proxy.url(url), "ENVIRONMENT": "test"}
        done = await Manage(*manage_project, environ)("user list")
        sql = "SELECT status FROM oneoff_runs WHERE command = 'user list'"
        assert (0, [("unchanged",)]) == (done.exit_code, query(url, sql)), done.stderr

    assert held
    assert postgres_proxy.connections > 1  # the driver may open one more to cancel the statement
