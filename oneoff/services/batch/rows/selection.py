"""What a batch command works on: rows that Python changes, or a statement cut into ranges.

Neither finds its place with OFFSET, which reads again what it skips, nor by `IN (SELECT ... LIMIT
n)`, whose last batch searches the whole rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.services.batch.command import BatchCommand, BatchRange


_AFTER: BindParameter[Any] = bindparam("oneoff_after")
_UPTO: BindParameter[Any] = bindparam("oneoff_upto")
_SIZE = bindparam("oneoff_size", type_=Integer)


class Step(NamedTuple):
    """One batch that was done, and is not yet saved.

    Attributes:
        key: The last key that is done with; None where that has not changed.
        done: Rows it went through.
        changed: Rows it changed.
        last: Nothing came after it.
        errors: Rows that were left out because they failed.
    """

    key: Any
    done: int
    changed: int
    last: bool
    errors: int = 0


class Selection(ABC):
    """The work of one command, within a range of its keys.

    Args:
        command: What is done.
        limits: The range; None for one that has no rows.

    Attributes:
        column: What orders the rows.
        table: Where the column is.
        durable: Whether each batch waits until it is on the disk; the last one always does.
    """

    column: ColumnElement[Any]
    table: Table
    durable: ClassVar[bool] = True

    def __init__(self, command: BatchCommand, limits: BatchRange | None) -> None:
        self.command = command
        self.limits = limits
        self._declare()

    def begin(self, at: datetime) -> None:
        """Ask the command again what to do, for a batch that began then."""
        self.command.began = at
        self._declare()

    @abstractmethod
    def _declare(self) -> None:
        """Read from the command what to do, and check that it can be done in batches."""

    @abstractmethod
    async def step(self, connection: AsyncConnection, after: Any, size: int) -> Step:
        """Do the batch that follows a key, of about `size` rows, in an open transaction."""

    @abstractmethod
    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the keys that are left after one."""

    async def count(self, connection: AsyncConnection, after: Any) -> int:
        """Count the rows that are left after a key."""
        left = self.keys(after).subquery()
        return await connection.scalar(select(func.count()).select_from(left)) or 0

    def between(self, after: Any, upto: Any = None) -> list[ColumnElement[bool]]:
        """Return the conditions for the keys after one, within the limits."""
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

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> Step:
        """Load a page of rows and hand it to the command."""
        async with session_in(connection) as session:
            keys, batch = await self.page(session, after, size)
            changed = await self._process(session, batch) if batch else 0
        return Step(keys[-1] if keys else None, len(keys), changed, last=len(keys) < size)

    async def page(
        self, session: AsyncSession, after: Any, size: int
    ) -> tuple[list[Any], Sequence[Any]]:
        """Return the keys and the rows of the page that follows a key."""
        page = self._keyed().where(*self.between(after)).order_by(self.column).limit(size)
        return self._split((await session.execute(page)).all())

    async def one(self, session: AsyncSession, key: Any) -> int:
        """Work on the row of this key alone, if the select still finds it."""
        found = await session.execute(self._keyed().where(self.column == key))
        _, batch = self._split(found.all())
        return await self._process(session, batch) if batch else 0

    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the keys that are left after one."""
        only = self._select.with_only_columns(self.column, maintain_column_froms=True)
        only = only.where(*self.between(after)).order_by(None)
        only._for_update_arg = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way; to count rows is no reason to lock them
        return only

    def _keyed(self) -> Select[Any]:
        return self._select.add_columns(self.column.label("oneoff_key")).order_by(None)

    def _split(self, rows: Sequence[Any]) -> tuple[list[Any], Sequence[Any]]:
        whole = [row[0] for row in rows] if self._single else [row[:-1] for row in rows]
        return [row[-1] for row in rows], whole

    async def _process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        changed: object = await self.command.process(session, batch)
        if not isinstance(changed, int):
            raise CommandError(
                f"process returned {type(changed).__name__}, not how many rows it changed",
                try_="return len(batch), or the number of those that were changed",
                code="no-result",
            )
        await session.flush()
        return changed


class SetBased(Selection):
    """`change` and `range_column`: one statement for each range of an indexed column.

    Nothing outside the database can depend on such a batch, and what a crash of the server undoes
    is undone with its checkpoint, so only the last one waits for the disk, as one big statement
    would.
    """

    durable = False

    def _declare(self) -> None:
        command = self.command
        self._change: Delete | Update = command.change()
        if not isinstance(self._change, Delete | Update):
            raise _wrong(command, "change must return a Delete or an Update")
        name = type(command).__name__
        self.column = range_column(self._change.table, command.range_column, name)
        self.table = self.column.table
        # Built once, for SQLAlchemy takes as long for it as the server for a small batch.
        self._first_end = self._ends(self.keys(None))
        self._next_end = self._ends(self.keys(_AFTER))
        self._first_range = self._change.where(*self.between(None, _UPTO))
        self._next_range = self._change.where(*self.between(_AFTER, _UPTO))
        self._whole = self._change.where(*self.between(None))
        self._rest = self._change.where(*self.between(_AFTER))

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> Step:
        """Find where the range ends, and change what is in it."""
        place = {} if after is None else {_AFTER.key: after}
        ends = self._first_end if after is None else self._next_end
        end = (await connection.execute(ends, place | {_SIZE.key: size})).one_or_none()
        if end is None:
            rest = self._whole if after is None else self._rest
            done = await connection.execute(rest, place)
            return Step(None, done.rowcount, done.rowcount, last=True)
        upto, ties = end
        if ties >= size:
            # More rows than a batch has share the value: those before them are a batch, and they
            # themselves are as many as it takes.
            before = self.keys(after).where(self.column < upto).subquery()
            below = await connection.scalar(select(func.max(before.c[0])))
            if below is None and isinstance(self._change, Delete) and self.table.primary_key:
                return await self._delete_some(connection, upto, size)
            upto = upto if below is None else below
        change = self._first_range if after is None else self._next_range
        done = await connection.execute(change, place | {_UPTO.key: upto})
        self._check_changed(connection, done.rowcount, upto)
        return Step(upto, done.rowcount, done.rowcount, last=False)

    def _ends(self, keys: Select[Any]) -> Select[Any, int]:
        """Select the last value of a full page, and how many share it, of whom a page is counted.

        To skip to the end of a page costs half as much as to look at its rows.
        """
        end = keys.order_by(self.column).offset(_SIZE - 1).limit(1).subquery()
        same = keys.where(self.column == end.c[0]).limit(_SIZE)
        ties = select(func.count()).select_from(same.correlate(end).subquery())
        return select(end.c[0], ties.scalar_subquery())

    def _check_changed(self, connection: AsyncConnection, rows: int, value: Any) -> None:
        """Refuse rows that lie above a value which they are read as.

        Elsewhere than in SQLite another client may have taken the rows.
        """
        if rows or connection.dialect.name != "sqlite":
            return
        raise DataError(
            f"{self.column} of some rows reads as {value}, and the database takes it for more",
            why="SQLite compares dates as texts, and these were written in another form; the batch "
            "would find the same rows for ever",
            try_="write them in one form: UPDATE ... SET column = strftime(...)",
            code="batch-unequal",
        )

    async def _delete_some(self, connection: AsyncConnection, value: Any, size: int) -> Step:
        """Delete a batch of the rows that share a value; the next one finds those that are left."""
        key = tuple_(*self.table.primary_key)
        some = select(*self.table.primary_key).where(self.column == value).limit(size)
        if self._change.whereclause is not None:
            some = some.where(self._change.whereclause)
        done = await connection.execute(delete(self.table).where(key.in_(some)))
        self._check_changed(connection, done.rowcount, value)
        return Step(None, done.rowcount, done.rowcount, last=False)

    def keys(self, after: Any) -> Select[Any]:
        """Return a select of the keys that are left after one."""
        keys = select(self.column).select_from(self._change.table)
        if self._change.whereclause is not None:
            keys = keys.where(self._change.whereclause)
        return keys.where(self.column.is_not(None), *self.between(after))


def make_selection(command: BatchCommand, limits: BatchRange | None) -> Selection:
    """Return the work that a command declares.

    Args:
        command: What is done.
        limits: Within which keys; None for none.

    Raises:
        ConfigurationError: It can't be done in batches as it is declared.
    """
    if command.range_column:
        return SetBased(command, limits)
    return RowWise(command, limits)


def _check_select(statement: object, command: BatchCommand) -> None:
    if not isinstance(statement, Select):
        raise _wrong(command, "select must return a Select")
    limited = statement._limit_clause is not None or statement._offset_clause is not None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to ask
    if limited:
        raise _wrong(command, "select must not have a limit; --max-rows is for that")


def _table_of(statement: Select[Any], command: BatchCommand) -> Table:
    entity = statement.column_descriptions[0].get("entity")
    mapper = inspect(entity, raiseerr=False) if entity is not None else None
    table = getattr(mapper, "local_table", None)
    if table is None:
        table = statement.get_final_froms()[0]
        while isinstance(table, Join):
            table = table.left
    if not isinstance(table, Table):
        raise _wrong(command, "select must begin with a table or a mapped class")
    return table


def _wrong(command: BatchCommand, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{type(command).__name__}: {what}",
        try_="correct the command",
        code="batch-select",
    )
