"""Rebuild a SQLite table for `batch_alter_table` without losing anything that it has.

Alembic reflects the table and creates it again. What SQLAlchemy does not reflect is lost: unnamed
checks, collations, triggers, indexes on expressions, STRICT, and more. This module changes the
text of the table instead (`sqlite_sql`). Operations that need Alembic's way, such as `copy_from`,
are refused if something would be lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic.ddl.sqlite import SQLiteImpl
from alembic.util.sqla_compat import _is_type_bound
from sqlalchemy import JSON, Column, Integer, PrimaryKeyConstraint
from sqlalchemy.schema import CreateColumn, CreateIndex

from oneoff.core.errors import CommandError
from oneoff.services.migrations.constraint_names import final_name
from oneoff.services.migrations.sqlite_sql import (
    ColumnSQL,
    TableSQL,
    kind_of,
    name_of,
    normalized,
    quote,
    same_name,
    tokens,
)

if TYPE_CHECKING:
    from alembic.operations.batch import BatchOperationsImpl
    from sqlalchemy import Connection, Constraint, Index
    from sqlalchemy.types import TypeEngine

_OBJECTS = """
SELECT type, name, sql FROM sqlite_master
WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type = 'table' DESC, rowid
"""
_DEFAULTS = ("DEFAULT", "GENERATED", "AS")


# A default that needs no parentheses.
_PLAIN_DEFAULT = re.compile(
    r"""\(.*\) | [-+]?[\d.]+(?:e[-+]?\d+)? | x?'(?:[^']|'')*' | null | true | false
      | current_(?:date|time|timestamp)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class LosslessSQLiteImpl(SQLiteImpl):
    """Alembic's operations on SQLite, with another way to rebuild a table.

    Alembic finds the class by its `__dialect__`; a later class replaces an earlier one.
    """

    __dialect__ = "sqlite"
    transactional_ddl = False

    def _guess_if_default_is_unparenthesized_sql_expr(self, expr: str | None) -> bool:
        # Alembic takes '' and 10 for expressions, and would change their text.
        return bool(expr) and not _PLAIN_DEFAULT.fullmatch(str(expr).strip())

    def requires_recreate_in_batch(self, batch_op: BatchOperationsImpl) -> bool:
        """Rebuild the table, and leave no operation for Alembic; or let Alembic decide."""
        wanted = batch_op.recreate == "always" or super().requires_recreate_in_batch(batch_op)
        if not wanted or self.as_sql or self.connection is None:
            return bool(wanted)
        if _needs_alembic(batch_op):
            _refuse_loss(self.connection, batch_op)
            return True
        rebuild = _Rebuild(self, self.connection, batch_op.table_name)
        for name, args, options in batch_op.batch:
            operation: Callable[..., None] = getattr(rebuild, name)
            operation(*args, **options)
        rebuild.run()
        batch_op.batch.clear()
        return False


def _needs_alembic(batch_op: BatchOperationsImpl) -> bool:
    listeners = batch_op.reflect_kwargs.get("listeners", ())
    return bool(
        batch_op.schema
        or batch_op.copy_from is not None
        or batch_op.table_args
        or batch_op.table_kwargs
        or batch_op.reflect_args
        or len(batch_op.reflect_kwargs) > 1
        or len(listeners) > 1
        or batch_op.naming_convention
        or batch_op.partial_reordering
    )


def _refuse_loss(connection: Connection, batch_op: BatchOperationsImpl) -> None:
    """Refuse Alembic's way for a table that has something that it does not keep."""
    rows = connection.exec_driver_sql(_OBJECTS, (batch_op.table_name,)).all()
    lost = [f"trigger {name}" for kind, name, _ in rows if kind == "trigger"]
    if batch_op.copy_from is None and rows:
        table = TableSQL.parse(rows[0].sql)
        words = {word.upper() for word in tokens(rows[0].sql)}
        kept = words & {"COLLATE", "STRICT", "ROWID", "AUTOINCREMENT", "CONFLICT", "GENERATED"}
        lost += sorted(word for word in kept if word != "ROWID") + ["WITHOUT ROWID"] * (
            "ROWID" in kept
        )
        clauses = [*table.constraints, *(one for column in table.columns for one in column.clauses)]
        unnamed = [one for one in clauses if "CHECK" in map(str.upper, one) and not name_of(one)]
        if unnamed and not batch_op.table_args:
            lost.append("a check without a name")
    if lost:
        raise _would_lose(batch_op.table_name, lost)


def _would_lose(table: str, lost: list[str]) -> CommandError:
    return CommandError(
        f"changing the table {table} would lose: {', '.join(lost)}; remove the options of "
        "batch_alter_table, such as copy_from, table_args or naming_convention"
    )


class _Rebuild:
    """Collects the operations of one `batch_alter_table`, and performs them with one copy.

    Its methods have the names and parameters of Alembic's implementation.
    """

    def __init__(self, impl: SQLiteImpl, connection: Connection, name: str) -> None:
        rows = connection.exec_driver_sql(_OBJECTS, (name,)).all()
        if not rows or rows[0].type != "table":
            raise CommandError(f"there is no table {name!r} to change")
        self._impl = impl
        self._connection = connection
        self._name = str(rows[0].name)
        self._table = TableSQL.parse(rows[0].sql)
        self._kept = {str(row.name): str(row.sql) for row in rows[1:]}
        self._new_indexes: list[Index] = []
        self._renamed: list[tuple[str, str]] = []
        self._values = {name: quote(name) for name in self._stored_columns()}
        self._compiler: Any = connection.dialect.ddl_compiler(
            connection.dialect,
            None,  # type: ignore[arg-type]
        )

    def add_column(
        self,
        _table: str,
        column: Column[Any],
        *,
        insert_before: str | None = None,
        insert_after: str | None = None,
        **_: Any,
    ) -> None:
        new = ColumnSQL.parse(tokens(self._compile(CreateColumn(column))))
        place = len(self._table.columns)
        if insert_before or insert_after:
            beside = self._table.column(insert_before or insert_after or "")
            place = self._table.columns.index(beside) + (insert_before is None)
        self._table.columns.insert(place, new)

    def drop_column(self, _table: str, column: Any, **_: Any) -> None:
        self._table.drop_column(column.name)
        self._values = {
            name: value for name, value in self._values.items() if not same_name(name, column.name)
        }

    def alter_column(
        self,
        _table: str,
        column_name: str,
        *,
        nullable: bool | None = None,
        server_default: Any = False,
        name: str | None = None,
        type_: TypeEngine[Any] | None = None,
        existing_type: TypeEngine[Any] | None = None,
        **_: Any,
    ) -> None:
        column = self._table.column(column_name)
        if type_ is not None:
            column.type = tokens(self._impl.dialect.type_compiler_instance.process(type_))
            self._convert(column.name, existing_type, type_)
        if nullable is not None:
            column.remove("NOT", "NULL")
            column.clauses += [] if nullable else [["NOT", "NULL"]]
        if server_default is not False:
            column.remove(*_DEFAULTS)
            if server_default is not None:
                column.clauses += self._default(server_default)
        if name is not None and name != column_name:
            self._renamed.append((column_name, name))

    def add_constraint(self, constraint: Constraint) -> None:
        if isinstance(constraint, PrimaryKeyConstraint):
            self._table.remove_primary_key()
        written = tokens(self._compiler.process(constraint))
        if not self._has(written):
            self._table.constraints.append(written)

    def drop_constraint(self, constraint: Constraint) -> None:
        name = final_name(constraint, self._connection.dialect)
        if name and self._table.remove_constraint(name, self._name):
            return
        if isinstance(constraint, PrimaryKeyConstraint):
            self._table.remove_primary_key()
        elif _is_type_bound(constraint):
            # Alembic calls this for the check of an Enum or Boolean, whether the table has it.
            written = normalized(tokens(self._compiler.process(constraint)))
            self._table.constraints = [
                one for one in self._table.constraints if normalized(one) != written
            ]
        else:
            raise CommandError(f"the table {self._name} has no constraint {name!r}")

    def create_index(self, index: Index, **_: Any) -> None:
        self._new_indexes.append(index)

    def drop_index(self, index: Index, **_: Any) -> None:
        if self._kept.pop(str(index.name), None) is None:
            raise CommandError(f"the table {self._name} has no index {index.name!r}")

    def create_column_comment(self, _column: Any) -> None:
        """Do nothing: SQLite has no comments."""

    create_table_comment = drop_table_comment = create_column_comment

    def run(self) -> None:
        """Create the new table, copy the rows, and replace the old table."""
        temporary = f"_alembic_tmp_{self._name}"[:50]
        execute = self._connection.exec_driver_sql
        execute(self._table.sql(temporary))
        generated = self._generated(temporary)
        values = {name: value for name, value in self._values.items() if name not in generated}
        target, source = ", ".join(map(quote, values)), ", ".join(values.values())
        if values:
            execute(
                f"INSERT INTO {quote(temporary)} ({target}) "  # noqa: S608 - names are quoted
                f"SELECT {source} FROM {quote(self._name)}"
            )
        self._keep_sequence(temporary)
        execute(f"DROP TABLE {quote(self._name)}")
        self._rename(temporary)
        for sql in self._kept.values():
            execute(sql)
        for old, new in self._renamed:
            execute(f"ALTER TABLE {quote(self._name)} RENAME COLUMN {quote(old)} TO {quote(new)}")
        for index in self._new_indexes:
            self._connection.execute(CreateIndex(index))

    def _rename(self, temporary: str) -> None:
        execute = self._connection.exec_driver_sql
        legacy = execute("PRAGMA legacy_alter_table").scalar()
        # Otherwise SQLite refuses the rename while a view names the table, which is gone.
        execute("PRAGMA legacy_alter_table=ON")
        try:
            execute(f"ALTER TABLE {quote(temporary)} RENAME TO {quote(self._name)}")
        finally:
            execute(f"PRAGMA legacy_alter_table={'ON' if legacy else 'OFF'}")

    def _keep_sequence(self, temporary: str) -> None:
        """Keep the highest key that AUTOINCREMENT has given, or keys of deleted rows come again."""
        execute = self._connection.exec_driver_sql
        if not execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first():
            return
        highest = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        old = execute(highest, (self._name,)).scalar()
        if old is None or not any(
            "AUTOINCREMENT" in map(str.upper, one) for one in self._clauses()
        ):
            return
        execute("DELETE FROM sqlite_sequence WHERE name = ?", (temporary,))
        execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (temporary, old))

    def _clauses(self) -> list[list[str]]:
        inside = [clause for column in self._table.columns for clause in column.clauses]
        return self._table.constraints + inside

    def _has(self, constraint: list[str]) -> bool:
        """Return whether the constraint is there, as one of a column too."""
        wanted = normalized(constraint)
        return any(normalized(clause) == wanted for clause in self._clauses())

    def _stored_columns(self) -> list[str]:
        rows = self._connection.exec_driver_sql(
            "SELECT name FROM pragma_table_xinfo(?)", (self._name,)
        )
        return [str(name) for name in rows.scalars()]

    def _generated(self, table: str) -> set[str]:
        found = self._connection.exec_driver_sql(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (2, 3)", (table,)
        )
        return {str(name) for name in found.scalars()}

    def _convert(self, name: str, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> None:
        """Convert the values if the kind of type changes, as Alembic does."""
        if old is not None and old._type_affinity is new._type_affinity:
            return
        if not isinstance(new, JSON) and name in self._values:
            type_ = self._impl.dialect.type_compiler_instance.process(new)
            self._values[name] = f"CAST({quote(name)} AS {type_})"

    def _default(self, default: Any) -> list[list[str]]:
        column = Column("c", Integer, server_default=default)
        written = ColumnSQL.parse(tokens(self._compile(CreateColumn(column))))
        return [one for one in written.clauses if kind_of(one) in _DEFAULTS]

    def _compile(self, element: Any) -> str:
        return str(element.compile(dialect=self._connection.dialect)).strip()
