"""Ready-made probes for `BatchCommand.probes`: each can delay the next batch.

All except `BatchTime` query PostgreSQL; on SQLite they never delay a batch. A probe that lacks a
permission raises `ProbeDenied`: the run warns once, and continues without the probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from oneoff.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

WAITED = 0.1
"""Seconds after which a session that waits for a lock counts; shorter waits are normal."""
_MIB = 2**20

# A role without pg_monitor sees NULLs in these rows, which would look like no lag. The third column
# counts such rows. A standby that has stopped replaying reports no new times, so the second column
# is the lag in bytes.
_LAG = """
SELECT extract(epoch FROM max(replay_lag))::float8,
       max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn))::float8,
       count(*) FILTER (WHERE state IS NULL)
FROM pg_stat_replication
"""
# Advisory locks are excluded, because a session that waits for one does not wait for rows.
# `waitstart` exists since PostgreSQL 14. It is read through JSON, so that the statement also works
# on older servers, where every waiting session counts. A session that waits for a row waits for the
# transaction that locked the row, and pg_locks does not show the table of that wait. So for one
# table the statement counts the waiting sessions that have a lock on the table, or wait for one.
_WAITERS = """
SELECT count(DISTINCT waiting.pid)
FROM pg_locks AS waiting
JOIN pg_stat_activity AS who ON who.pid = waiting.pid AND who.datname = current_database()
WHERE NOT waiting.granted AND waiting.locktype <> 'advisory'
  AND coalesce((to_jsonb(waiting) ->> 'waitstart')::timestamptz, '-infinity')
      < clock_timestamp() - make_interval(secs => :seconds)
  AND (CAST(:tables AS oid[]) IS NULL OR EXISTS (
    SELECT FROM pg_locks AS held
    WHERE held.pid = waiting.pid AND held.relation = ANY(CAST(:tables AS oid[]))))
"""
# A role without pg_read_all_stats sees NULL as the state of other roles' sessions, and this text as
# their query. The second column counts such sessions.
_CONNECTIONS = """
SELECT count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
       count(*) FILTER (WHERE state IS NULL AND query = '<insufficient privilege>')
FROM pg_stat_activity WHERE datname IS NOT NULL
"""
# Autovacuum is recognized by its lock on the table and by a session without a user: the session of
# a manual VACUUM has one. An automatic ANALYZE has the same lock, and counts too.
_VACUUM = """
SELECT count(*)
FROM pg_locks AS held JOIN pg_stat_activity AS who ON who.pid = held.pid
WHERE held.relation = ANY(CAST(:tables AS oid[])) AND held.granted
  AND held.mode = 'ShareUpdateExclusiveLock' AND who.usesysid IS NULL
"""
# A table and its partitions, which are locked and vacuumed instead of it; NULL if it does not
# exist. The names are quoted, because to_regclass would convert them to lower case. Neither this
# nor pg_inherits needs a lock on the table; pg_partition_tree() would wait for one.
_TABLES = """
WITH RECURSIVE tree (oid) AS (
    SELECT coalesce(
        to_regclass(quote_ident(:table)),
        to_regclass(quote_ident(split_part(:table, '.', 1)) || '.'
                    || quote_ident(substr(:table, strpos(:table, '.') + 1))))::oid
    UNION
    SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT array_agg(oid) FROM tree WHERE oid IS NOT NULL
"""


class ProbeDenied(Exception):
    """A probe lacks a permission; the message names the role to grant."""


class ProbeTableNotFound(NotFound):
    """A probe watches a table that does not exist, so it would never delay a batch."""

    code = "probe-table-not-found"


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """Wait while a standby server lags.

    Attributes:
        seconds: The highest lag in time.
        mebibytes: The highest lag in WAL. A standby that has stopped replaying has no lag in time.
        query: A statement that returns the seconds, where `pg_stat_replication` does not have
            them: for a managed server with its own view, or a heartbeat table.
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
            raise ProbeDenied("there are standby servers, but only pg_monitor can read their lag")
        if seconds is not None and seconds > self.seconds:
            return f"{self.name} {seconds:.1f}s > {self.seconds:g}s"
        if behind is not None and behind > self.mebibytes * _MIB:
            return f"{self.name} {behind / _MIB:.0f}MiB > {self.mebibytes}MiB"
        return None


@dataclass(frozen=True, slots=True)
class LockWaiters:
    """Wait while sessions wait for locks: they would have to wait for the batch too.

    Attributes:
        table: Count only sessions that lock this table or wait for a lock on it, as `schema.table`
            or `table`, not quoted and in the database's spelling; empty for all sessions.
        limit: The highest number of waiting sessions.
    """

    name: ClassVar[str] = "lock_waiters"
    table: str = ""
    limit: int = 0

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "lock_waiters 3 > 0"."""
        tables = await _tables(connection, self.name, self.table) if self.table else None
        row = await _ask(connection, _WAITERS, tables=tables, seconds=WAITED)
        return _more(self.name, row, self.limit)


@dataclass(frozen=True, slots=True)
class ActiveConnections:
    """Wait while the server is busy: while more other sessions than this execute a statement.

    Attributes:
        limit: The highest number of other sessions that execute a statement.
    """

    name: ClassVar[str] = "active_connections"
    limit: int

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "active_connections 48 > 40"."""
        row = await _ask(connection, _CONNECTIONS)
        if row is not None and row[1]:
            raise ProbeDenied("only pg_read_all_stats can read the state of other roles' sessions")
        return _more(self.name, row, self.limit)


@dataclass(frozen=True, slots=True)
class Autovacuum:
    """Wait while autovacuum works on a table: otherwise it would have to run again.

    Attributes:
        table: As `schema.table` or `table`, not quoted and in the database's spelling.
    """

    name: ClassVar[str] = "autovacuum"
    table: str

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return "autovacuum works on orders"."""
        tables = await _tables(connection, self.name, self.table)
        row = await _ask(connection, _VACUUM, tables=tables)
        return f"{self.name} works on {self.table}" if row is not None and row[0] else None


class BatchTime:
    """Wait when the run's own batches are slow: when their 95th percentile is above a limit.

    The percentile is taken over at most the last hundred batches, and only those since the last
    wait.

    Args:
        seconds: The limit.
        rest: Seconds to wait.
    """

    name = "batch_p95"

    def __init__(self, seconds: float, *, rest: float = 10.0) -> None:
        self._limit, self._rest = seconds, rest
        self._times: list[float] = []
        self._until = 0.0
        self._said = ""

    def record(self, seconds: float) -> None:
        """Record the duration of a batch."""
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
        # Without the reset the same slow batches would delay the run indefinitely.
        self._times = []
        self._until = monotonic() + self._rest
        self._said = f"{self.name} {p95:.1f}s > {self._limit:g}s"
        return self._said


ENOUGH = 20  # batches; with fewer, a 95th percentile has no meaning


async def _ask(connection: AsyncConnection, query: str, **values: Any) -> Sequence[Any] | None:
    if connection.dialect.name != "postgresql":
        return None
    from sqlalchemy import text

    statement = text(query).bindparams(**values) if values else text(query)
    return (await connection.execute(statement)).one()


async def _tables(connection: AsyncConnection, probe: str, table: str) -> list[int] | None:
    """Return the oids of a table and its partitions; None on SQLite.

    Raises:
        ProbeTableNotFound: The table does not exist.
    """
    row = await _ask(connection, _TABLES, table=table)
    if row is None:
        return None
    if row[0] is None:
        raise ProbeTableNotFound(
            f"the probe {probe} watches the table {table!r}, which does not exist",
            why="it would never delay a batch; names are not quoted, and upper case counts",
            try_="correct the name in the command's probes()",
        )
    return list(row[0])


def _more(name: str, row: Sequence[Any] | None, limit: int) -> str | None:
    return f"{name} {row[0]} > {limit}" if row is not None and row[0] > limit else None
