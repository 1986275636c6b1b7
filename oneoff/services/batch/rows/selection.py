"""Select the rows of a batch command: pages of rows for Python, or ranges for one statement.

Both continue after the last key. An OFFSET from the start would read all finished rows again, and
`IN (SELECT ... LIMIT n)` would search the rest of the table for the last batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sqlalchemy import (
    BindParameter,
    Delete,
    Integer,
    Join,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    false,
    func,
    inspect,
    select,
    tuple_,
)

from oneoff.core.errors import CommandError, ConfigurationError, DataError
from oneoff.services.batch.rows.key_columns import key_column, range_column
from oneoff.services.batch.transactions import session_in

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.services.batch.command import BatchCommand, BatchRange


_AFTER: BindParameter[Any] = bindparam("oneoff_after")
_UPTO: BindParameter[Any] = bindparam("oneoff_upto")
_SIZE = bindparam("oneoff_size", type_=Integer)


class StepResult(NamedTuple):
    """One processed batch, before its checkpoint is saved.

    Attributes:
        key: The last processed key; None if the cursor does not change.
        done: Rows that were processed.
        changed: Rows that were changed.
        last: Whether no rows are left.
        errors: Rows that were rejected because they failed.
    """

    key: Any
    done: int
    changed: int
    last: bool
    errors: int = 0


class Selection(ABC):
    """The rows of one command, within a range of their keys.

    Args:
        command: The command that processes them.
        limits: The range; None for no rows.

    Attributes:
        column: The key, which orders the rows.
        table: The table of the column.
        durable: Whether each commit waits until it is on the disk; the last commit always waits.
    """

    column: ColumnElement[Any]
    table: Table
    durable: ClassVar[bool] = True

    def __init__(self, command: BatchCommand, limits: BatchRange | None) -> None:
        self.command = command
        self.limits = limits
        self._declare()

    def declare_again(self, began: datetime) -> None:
        """Ask the command again for its rows, with the start time of the batch that is resumed."""
        self.command.began = began
        self._declare()

    @abstractmethod
    def _declare(self) -> None:
        """Ask the command for its rows, and check that they can be processed in batches."""

    @abstractmethod
    async def step(self, connection: AsyncConnection, after: Any, size: int) -> StepResult:
        """Process the batch of about `size` rows that follows a key, in an open transaction.

        `oneoff.services.batch.run.loop` calls it, saves the step as a checkpoint, and commits.
        """

    @abstractmethod
    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the remaining keys: those after `after`."""

    async def count(self, connection: AsyncConnection, after: Any) -> int:
        """Count the remaining rows: those after a key."""
        left = self.keys(after).subquery()
        return await connection.scalar(select(func.count()).select_from(left)) or 0

    def between(self, after: Any, upto: Any = None) -> list[ColumnElement[bool]]:
        """Return the conditions for the keys after `after` and up to `upto`, within the limits."""
        if self.limits is None:
            return [false()]
        low = self.limits.low if after is None else after
        high = self.limits.high if upto is None else upto
        conditions = [] if low is None else [self.column > low]
        return conditions if high is None else [*conditions, self.column <= high]


class RowWise(Selection):
    """`select` and `process`: pages of rows by an immutable unique key."""

    def _declare(self) -> None:
        command = self.command
        self._select: Select[Any] = command.select()
        _check_select(self._select, command)
        self.table = _table_of(self._select, command)
        self.column = key_column(self.table, command.key, type(command).__name__)
        self._single = len(self._select.column_descriptions) == 1

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> StepResult:
        """Load a page of rows and pass it to the command."""
        async with session_in(connection) as session:
            keys, batch = await self.page(session, after, size)
            changed = await self._process(session, batch) if batch else 0
        return StepResult(keys[-1] if keys else None, len(keys), changed, last=len(keys) < size)

    async def page(
        self, session: AsyncSession, after: Any, size: int
    ) -> tuple[list[Any], Sequence[Any]]:
        """Return the keys and the rows of the page after a key.

        Raises:
            ConfigurationError: Several rows have the same key. If a page ended between them, the
                others would be skipped.
        """
        # One row more than the page, to see whether it ends between rows with the same key.
        page = self._keyed().where(*self.between(after)).order_by(self.column).limit(size + 1)
        keys, batch = self._split((await session.execute(page)).all())
        repeated = next((one for one, other in pairwise(keys) if one == other), None)
        if repeated is not None:
            raise _wrong(
                self.command,
                f"select returns several rows with {self.column} {repeated!r}",
                "use exists() instead of the join, or select the rows of the joined table",
            )
        return keys[:size], batch[:size]

    async def one(self, session: AsyncSession, key: Any) -> int:
        """Process only the row with this key, if the select still finds it."""
        found = await session.execute(self._keyed().where(self.column == key))
        _, batch = self._split(found.all())
        return await self._process(session, batch) if batch else 0

    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the remaining keys: those after `after`."""
        # `maintain_column_froms` keeps the joins, although only the key is selected.
        only = self._select.with_only_columns(self.column, maintain_column_froms=True)
        only = only.where(*self.between(after)).order_by(None)
        only._for_update_arg = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - SQLAlchemy has no public way; counting must not lock the rows
        return only

    def _keyed(self) -> Select[Any]:
        # The order of the author's select is dropped: pages are ordered by the key.
        return self._select.add_columns(self.column.label("oneoff_key")).order_by(None)

    def _split(self, rows: Sequence[Any]) -> tuple[list[Any], Sequence[Any]]:
        batch = [row[0] for row in rows] if self._single else [row[:-1] for row in rows]
        return [row[-1] for row in rows], batch

    async def _process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        changed: object = await self.command.process(session, batch)
        if not isinstance(changed, int):
            raise CommandError(
                f"process returned {type(changed).__name__}, not the number of changed rows",
                try_="return len(batch), or the number of rows that were changed",
                code="no-result",
            )
        await session.flush()
        return changed


class SetBased(Selection):
    """`change` and `range_column`: one statement for each range of an indexed column.

    Only the last commit waits for the disk, as the commit of one big statement would. A crash of
    the server may undo committed ranges, but it undoes their checkpoints too, and nothing outside
    the database depends on such a batch.
    """

    durable = False

    def _declare(self) -> None:
        command = self.command
        self._change: Delete | Update = command.change()
        if not isinstance(self._change, Delete | Update):
            raise _wrong(
                command,
                "change does not return a Delete or an Update",
                "return delete(...) or update(...) in change",
            )
        name = type(command).__name__
        self.column = column = range_column(self._change.table, command.range_column, name)
        self.table = column.table
        _check_range_column_stays(self._change, column, command)
        # Rows without a value in the range column are left out. A bound excludes them, but the
        # statement for all rows may have no bound.
        change = self._change.where(self.column.is_not(None))
        # Built once: SQLAlchemy needs as long to build them as the server needs for a small batch.
        self._first_end = self._ends(self.keys(None))
        self._next_end = self._ends(self.keys(_AFTER))
        self._first_range = change.where(*self.between(None, _UPTO))
        self._next_range = change.where(*self.between(_AFTER, _UPTO))
        self._all = change.where(*self.between(None))
        self._rest = change.where(*self.between(_AFTER))

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> StepResult:
        """Find the end of the range, and change the rows in it."""
        place = {} if after is None else {_AFTER.key: after}
        ends = self._first_end if after is None else self._next_end
        end = (await connection.execute(ends, place | {_SIZE.key: size})).one_or_none()
        if end is None:  # the page is not full, so the remaining rows are the last batch
            rest = self._all if after is None else self._rest
            done = await connection.execute(rest, place)
            return StepResult(None, done.rowcount, done.rowcount, last=True)
        upto, ties = end
        if ties >= size:
            # More rows have this value than a batch may have. The rows below the value are a batch
            # of their own. If there are none, a DELETE takes some of the rows with the value. An
            # UPDATE must take all of them: later it could not find out which ones it has changed.
            before = self.keys(after).where(self.column < upto).subquery()
            below = await connection.scalar(select(func.max(before.c[0])))
            if below is None and isinstance(self._change, Delete) and self.table.primary_key:
                return await self._delete_some(connection, upto, size)
            upto = upto if below is None else below
        change = self._first_range if after is None else self._next_range
        done = await connection.execute(change, place | {_UPTO.key: upto})
        self._check_changed(connection, done.rowcount, upto)
        return StepResult(upto, done.rowcount, done.rowcount, last=False)

    def _ends(self, keys: Select[Any]) -> Select[Any, int]:
        """Select the last value of a full page, and count the rows that have it, up to a page.

        The result is empty if the page is not full: then the remaining rows are the last batch.
        """
        # OFFSET here skips one page of an index, which costs half as much as returning its rows.
        end = keys.order_by(self.column).offset(_SIZE - 1).limit(1).subquery()
        same = keys.where(self.column == end.c[0]).limit(_SIZE)
        ties = select(func.count()).select_from(same.correlate(end).subquery())
        return select(end.c[0], ties.scalar_subquery())

    def _check_changed(self, connection: AsyncConnection, rows: int, value: Any) -> None:
        """Refuse a range on SQLite that changed no row, although its end was read from a row.

        SQLite compares dates as texts. A date in another format is converted when it is read, so it
        is no longer equal to the stored text. Other databases have a type for dates. There, an
        empty range only means that other clients have deleted the rows in the meantime.
        """
        if rows or connection.dialect.name != "sqlite":
            return
        raise DataError(
            f"{self.column} has dates in different formats; one of them is read as {value}",
            why="SQLite compares dates as texts, so the batch would find the same rows again and "
            "again",
            try_="convert the dates to one format: UPDATE ... SET column = strftime(...)",
            code="batch-unequal",
        )

    async def _delete_some(self, connection: AsyncConnection, value: Any, size: int) -> StepResult:
        """Delete some of the rows that share a value; the next batch finds the others."""
        # By primary key, because DELETE has no LIMIT in PostgreSQL. The result has no key, so the
        # cursor stays before the value.
        key = tuple_(*self.table.primary_key)
        some = select(*self.table.primary_key).where(self.column == value).limit(size)
        if self._change.whereclause is not None:
            some = some.where(self._change.whereclause)
        done = await connection.execute(delete(self.table).where(key.in_(some)))
        self._check_changed(connection, done.rowcount, value)
        return StepResult(None, done.rowcount, done.rowcount, last=False)

    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the remaining keys: those after `after`."""
        keys = select(self.column).select_from(self._change.table)
        if self._change.whereclause is not None:
            keys = keys.where(self._change.whereclause)
        return keys.where(self.column.is_not(None), *self.between(after))


def make_selection(command: BatchCommand, limits: BatchRange | None) -> Selection:
    """Return the selection that a command declares.

    Args:
        command: With `select` or `change`.
        limits: The range of its keys; None for no rows.

    Raises:
        ConfigurationError: Its declaration can't be processed in batches.
    """
    if command.range_column:
        return SetBased(command, limits)
    return RowWise(command, limits)


def _check_range_column_stays(
    change: Delete | Update, column: Column[Any], command: BatchCommand
) -> None:
    """Refuse an UPDATE that sets its range column: later batches would find the same rows again."""
    if not isinstance(change, Update):
        return
    values: Any = change._values or {}  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to ask
    names = {getattr(one, "key", one) for one in values}
    entity = change.entity_description.get("entity")
    attribute = inspect(entity).get_property_by_column(column).key if entity is not None else ""
    computed = column.onupdate is not None or column.server_onupdate is not None
    if computed or not names.isdisjoint({column.key, column.name, attribute}):
        raise _wrong(
            command,
            f"change sets {column}, which is its range_column",
            "declare a range_column that change does not set",
        )


def _check_select(statement: object, command: BatchCommand) -> None:
    if not isinstance(statement, Select):
        raise _wrong(command, "select does not return a Select", "return select(...) in select")
    limited = statement._limit_clause is not None or statement._offset_clause is not None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to ask
    if limited:
        raise _wrong(
            command, "select has a limit or an offset", "remove it from select, and use --max-rows"
        )


def _table_of(statement: Select[Any], command: BatchCommand) -> Table:
    entity = statement.column_descriptions[0].get("entity")
    mapper = inspect(entity, raiseerr=False) if entity is not None else None
    table = getattr(mapper, "local_table", None)
    if table is None:
        table = statement.get_final_froms()[0]
        while isinstance(table, Join):
            table = table.left
    if not isinstance(table, Table):
        raise _wrong(
            command,
            "select does not start with a table or a mapped class",
            "select the table or the class first",
        )
    return table


def _wrong(command: BatchCommand, what: str, advice: str) -> ConfigurationError:
    return ConfigurationError(
        f"{type(command).__name__}: {what}",
        try_=advice,
        code="batch-select",
    )
