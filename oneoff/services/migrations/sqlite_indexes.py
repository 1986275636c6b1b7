"""Compare indexes on expressions in SQLite, which SQLAlchemy can't read from the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from alembic.operations import ops
from sqlalchemy import Column, Index, MetaData, Table, text
from sqlalchemy.schema import CreateIndex

from oneoff.services.migrations.colons import escape
from oneoff.services.migrations.sqlite_sql import closing, join, normalized, split, tokens

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INDEXES = text("""
SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
""")


def compare_expression_indexes(
    connection: Connection, tables: Sequence[Table]
) -> Iterator[ops.MigrateOperation]:
    """Yield the operations that create missing indexes and drop those that no model has."""
    present = {name: (table, tokens(sql)) for name, table, sql in connection.execute(_INDEXES)}
    wanted = {
        str(index.name): index
        for table in tables
        for index in table.indexes
        if any(not isinstance(one, Column) for one in index.expressions)
    }
    ours = {table.name.lower() for table in tables}
    for name, (table, words) in sorted(present.items()):
        old = _index(name, table, words)
        if table.lower() not in ours or not _on_expression(connection, name):
            continue
        if name not in wanted or not _same(connection, wanted[name], words):
            yield ops.DropIndexOp.from_index(old)
    for name, index in sorted(wanted.items()):
        if name not in present or not _same(connection, index, present[name][1]):
            yield ops.CreateIndexOp.from_index(index)


def _on_expression(connection: Connection, name: str) -> bool:
    # -2 is the number that SQLite gives to an expression.
    found = connection.exec_driver_sql("SELECT min(cid) FROM pragma_index_info(?)", (name,))
    return bool(found.scalar() == -2)  # noqa: PLR2004


def _same(connection: Connection, index: Index, words: list[str]) -> bool:
    written = str(CreateIndex(index).compile(dialect=connection.dialect))
    return normalized(tokens(written)) == normalized(words)


def _index(name: str, table: str, words: list[str]) -> Index:
    """Return the index that a CREATE INDEX statement describes."""
    begin = words.index("(")
    end = closing(words, begin)
    where = words[end + 2 :]
    return Index(
        name,
        *(text(escape(join(part))) for part in split(words[begin + 1 : end])),
        unique=words[1].upper() == "UNIQUE",
        sqlite_where=text(escape(join(where))) if where else None,
        _table=Table(table, MetaData()),
    )
