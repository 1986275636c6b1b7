"""Ready-made probes for `BatchCommand.probes`: reasons to wait with the next batch.

All but `BatchTime` ask PostgreSQL; on SQLite they never hold a run. A probe that may not see what
it asks for raises `ProbeDenied`: the run warns once, and goes on without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

WAITED = 0.1
"""Seconds after which a session that waits for a lock counts; shorter waits are normal."""
_MIB = 2**20

# To a role without pg_monitor the rows are shown with NULLs, which would look like no lag: they are
# counted, to tell the two apart. A standby that stands still reports no new times, so the bytes
# that it lacks are asked for as well.
_LAG = """
SELECT extract(epoch FROM max(replay_lag))::float8,
       max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn))::float8,
       count(*) FILTER (WHERE state IS NULL)
FROM pg_stat_replication
"""
# Advisory locks are left out: who waits for one does not wait for rows. `waitstart` exists since
# PostgreSQL 14; read through JSON, the statement works without it, and every waiting session
# counts. A session that waits for a row waits for the transaction that has it, which names no
# table. So for one table those sessions count that have a lock on it themselves, or wait for one.
_WAITERS = """
SELECT count(DISTINCT waiting.pid)
FROM pg_locks AS waiting
JOIN pg_stat_activity AS who ON who.pid = waiting.pid AND who.datname = current_database()
WHERE NOT waiting.granted AND waiting.locktype <> 'advisory'
  AND coalesce((to_jsonb(waiting) ->> 'waitstart')::timestamptz, '-infinity')
      < clock_timestamp() - make_interval(secs => :seconds)
  AND (:table = '' OR EXISTS (
    SELECT FROM pg_locks AS held
    WHERE held.pid = waiting.pid AND held.relation = to_regclass(:table)))
"""
# To a role without pg_read_all_stats the state of others' sessions is NULL, and their query this
# text.
_CONNECTIONS = """
SELECT count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
       count(*) FILTER (WHERE state IS NULL AND query = '<insufficient privilege>')
FROM pg_stat_activity WHERE datname IS NOT NULL
"""
# Autovacuum is recognized by its lock on the table, and as its worker, unlike the session of a
# manual VACUUM, has no user. An automatic ANALYZE has the same lock, and counts too.
_VACUUM = """
SELECT count(*)
FROM pg_locks AS held JOIN pg_stat_activity AS who ON who.pid = held.pid
WHERE held.relation = to_regclass(:table) AND held.granted
  AND held.mode = 'ShareUpdateExclusiveLock' AND who.usesysid IS NULL
"""


class ProbeDenied(Exception):
    """A probe may not see what it asks for; the message says what to grant."""


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """Hold while a standby server lags.

    Attributes:
        seconds: How far it may be behind in time.
        mebibytes: And in WAL: a standby that stands still is measured in bytes alone.
        query: A statement that returns the seconds, where `pg_stat_replication` does not know
            them: a managed server with a view of its own, a heartbeat table.
    """

    name: ClassVar[str] = "replica_lag"
    seconds: float = 2.0
    mebibytes: int = 256
    query: str = ""

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "replica_lag 4.2s > 2s", or "replica_lag 300MiB > 256MiB"."""
        row = await _ask(connection, self.query or _LAG)
        if row is None:
            return None
        seconds, behind, hidden = row if not self.query else (row[0], None, 0)
        if hidden:
            raise ProbeDenied(
                "there are standby servers, but only pg_monitor sees how far they are"
            )
        if seconds is not None and seconds > self.seconds:
            return f"{self.name} {seconds:.1f}s > {self.seconds:g}s"
        if behind is not None and behind > self.mebibytes * _MIB:
            return f"{self.name} {behind / _MIB:.0f}MiB > {self.mebibytes}MiB"
        return None


@dataclass(frozen=True, slots=True)
class LockWaiters:
    """Hold while sessions wait for locks: the batch would be one more that they wait for.

    Attributes:
        table: Only those that have to do with it, as `schema.table` or `table`; empty for all.
        limit: How many may wait.
    """

    name: ClassVar[str] = "lock_waiters"
    table: str = ""
    limit: int = 0

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "lock_waiters 3 > 0"."""
        row = await _ask(connection, _WAITERS, table=self.table, seconds=WAITED)
        return _more(self.name, row, self.limit)


@dataclass(frozen=True, slots=True)
class ActiveConnections:
    """Hold while the server is busy: so many other sessions are in a statement.

    Attributes:
        limit: How many may be.
    """

    name: ClassVar[str] = "active_connections"
    limit: int

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "active_connections 48 > 40"."""
        row = await _ask(connection, _CONNECTIONS)
        if row is not None and row[1]:
            raise ProbeDenied("only pg_read_all_stats sees what the sessions of other roles do")
        return _more(self.name, row, self.limit)


@dataclass(frozen=True, slots=True)
class Autovacuum:
    """Hold while autovacuum is at work on a table: it would have to come again.

    Attributes:
        table: As `schema.table` or `table`.
    """

    name: ClassVar[str] = "autovacuum"
    table: str

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "autovacuum works on orders"."""
        row = await _ask(connection, _VACUUM, table=self.table)
        return f"{self.name} works on {self.table}" if row is not None and row[0] else None


class BatchTime:
    """Hold for a while when the run's own batches get slow: their 95th percentile is above a limit.

    It is taken over the last hundred batches at most, and only over those since it last held.

    Args:
        seconds: The limit.
        rest: Seconds to hold for.
    """

    name = "batch_p95"

    def __init__(self, seconds: float, *, rest: float = 10.0) -> None:
        self._limit, self._rest = seconds, rest
        self._times: list[float] = []
        self._until = 0.0
        self._said = ""

    def record(self, seconds: float) -> None:
        """Take note of how long a batch took."""
        self._times = [*self._times[-99:], seconds]

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "batch_p95 0.9s > 0.5s"."""
        from time import monotonic

        if monotonic() < self._until:
            return self._said
        if len(self._times) < ENOUGH:
            return None
        p95 = sorted(self._times)[int(len(self._times) * 0.95)]
        if p95 <= self._limit:
            return None
        self._times = []
        self._until = monotonic() + self._rest
        self._said = f"{self.name} {p95:.1f}s > {self._limit:g}s"
        return self._said


ENOUGH = 20  # batches; of fewer a 95th percentile says nothing


async def _ask(connection: AsyncConnection, query: str, **values: Any) -> Sequence[Any] | None:
    if connection.dialect.name != "postgresql":
        return None
    from sqlalchemy import text

    statement = text(query).bindparams(**values) if values else text(query)
    return (await connection.execute(statement)).one()


def _more(name: str, row: Sequence[Any] | None, limit: int) -> str | None:
    return f"{name} {row[0]} > {limit}" if row is not None and row[0] > limit else None
