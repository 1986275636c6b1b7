"""Compare the enum types of PostgreSQL with the models, and write the SQL that changes them.

Alembic does not: it creates a type with its first table, and neither adds values nor drops a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ARRAY, Enum, text

from oneoff.services.migrations.colons import escape

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy import Connection, Dialect, Table
    from sqlalchemy.types import TypeEngine

_TYPES = text("""
SELECT nspname, typname, array_agg(enumlabel::text ORDER BY enumsortorder)
FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace
GROUP BY nspname, typname
""")
_COLUMNS = text("""
SELECT tn.nspname, t.typname, cn.nspname, relname, attname, atttypid <> t.oid,
       pg_get_expr(adbin, adrelid)
FROM pg_type t JOIN pg_namespace tn ON tn.oid = t.typnamespace
JOIN pg_attribute a ON atttypid IN (t.oid, t.typarray) AND attnum > 0 AND NOT attisdropped
JOIN pg_class c ON c.oid = attrelid AND relkind IN ('r', 'p') AND NOT relispartition
JOIN pg_namespace cn ON cn.oid = relnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE t.typtype = 'e' ORDER BY 3, 4, attnum
""")

Key = tuple[str, str]
"""Schema and name of a type."""


class _Use(NamedTuple):
    """A column in the database whose type is an enum, or an array of it."""

    schema: str
    table: str
    column: str
    array: bool
    default: str | None


@dataclass(slots=True)
class EnumChanges:
    """What a revision does about enum types, as SQL.

    Attributes:
        operations: One line for each change.
        before: Statements of `upgrade` before all others.
        after: Statements of `upgrade` after all others.
        undo_before: Statements of `downgrade` before all others.
        undo_after: Statements of `downgrade` after all others.
        added: The values that are added to existing types.
    """

    operations: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    undo_before: list[str] = field(default_factory=list)
    undo_after: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def compare_enums(
    connection: Connection, tables: Sequence[Table], dropped: Iterable[tuple[str, str]]
) -> EnumChanges:
    """Return the changes that give the database the enum types of the models.

    A type that no model uses is dropped if all its columns belong to tables that the revision
    changes or drops.

    Args:
        connection: Used only for reading.
        tables: The tables of the models.
        dropped: Schema and name of the tables that the revision drops.
    """
    here = str(connection.dialect.default_schema_name)
    wanted = dict(_wanted(connection.dialect, tables, here))
    present = {(schema, name): tuple(labels) for schema, name, labels in connection.execute(_TYPES)}
    uses: dict[Key, list[_Use]] = {}
    for schema, name, *column in connection.execute(_COLUMNS):
        uses.setdefault((schema, name), []).append(_Use(*column))
    ours = {(table.schema or here, table.name) for table in tables} | {*dropped}
    changes = EnumChanges()
    sql = _Statements(connection.dialect, here)
    for key, labels in wanted.items():
        if key not in present:
            _create(changes, sql, key, labels)
        elif labels != present[key]:
            _change(changes, sql, key, present[key], labels, uses=uses.get(key, []))
    for key in sorted(uses.keys() - wanted.keys()):
        if all((use.schema, use.table) in ours for use in uses[key]):
            changes.operations.append(f"remove enum {sql.name(key)}")
            changes.after.append(sql.drop(key))
            changes.undo_before.append(sql.create(key, present[key]))
    return changes


def enum_code(type_: TypeEngine[Any], context: AutogenContext) -> str | None:
    """Return the code of an enum type that does not create the type; None for other types."""
    found = _native(type_, context.dialect)
    if found is None or isinstance(type_, ARRAY) or _is_own(type_):
        return None
    context.imports.add("from sqlalchemy.dialects import postgresql")
    labels = "".join(f"{label!r}, " for label in found.enums)
    schema = f"schema={str(found.schema)!r}, " if found.schema else ""
    return f"postgresql.ENUM({labels}name={str(found.name)!r}, {schema}create_type=False)"


def _is_own(type_: TypeEngine[Any]) -> bool:
    return not type(type_).__module__.startswith("sqlalchemy.")


def _native(type_: TypeEngine[Any], dialect: Dialect) -> Enum | None:
    """Return the enum type of PostgreSQL that a column type stands for."""
    if dialect.name != "postgresql":
        return None
    found = type_.dialect_impl(dialect)
    found = getattr(found, "impl_instance", found)
    if isinstance(found, ARRAY):
        return _native(found.item_type, dialect)
    if isinstance(found, Enum) and found.native_enum and found.name:
        return found
    return None


def _wanted(
    dialect: Dialect, tables: Iterable[Table], here: str
) -> Iterator[tuple[Key, tuple[str, ...]]]:
    for table in tables:
        for column in table.columns:
            found = _native(column.type, dialect)
            # With create_type=False the project creates the type itself.
            if found is not None and getattr(found, "create_type", True):
                yield (str(found.schema or here), str(found.name)), tuple(map(str, found.enums))


def _create(changes: EnumChanges, sql: _Statements, key: Key, labels: tuple[str, ...]) -> None:
    changes.operations.append(f"add enum {sql.name(key)}")
    changes.before.append(sql.create(key, labels))
    changes.undo_after.append(sql.drop(key))


def _change(
    changes: EnumChanges,
    sql: _Statements,
    key: Key,
    old: tuple[str, ...],
    new: tuple[str, ...],
    *,
    uses: Sequence[_Use],
) -> None:
    added = [label for label in new if label not in old]
    if [label for label in new if label in old] == list(old):
        changes.added += added
        changes.operations += [f"add value {label!r} to enum {sql.name(key)}" for label in added]
        changes.before += sql.add_values(key, old, new)
    else:
        lost = ", ".join(repr(label) for label in old if label not in new)
        what = f"remove value {lost}" if lost else "change the order of the values"
        changes.operations.append(f"rebuild enum {sql.name(key)}: {what}")
        changes.before += sql.rebuild(key, new, uses)
    # PostgreSQL can't remove a value.
    changes.undo_after += sql.rebuild(key, old, uses)


class _Statements:
    """Writes statements with quoted names."""

    def __init__(self, dialect: Dialect, here: str) -> None:
        self._quote = dialect.identifier_preparer.quote
        self._here = here

    def name(self, key: Key) -> str:
        schema, name = key
        return self._quote(name) if schema == self._here else ".".join(map(self._quote, key))

    def create(self, key: Key, labels: Sequence[str]) -> str:
        return f"CREATE TYPE {self.name(key)} AS ENUM ({', '.join(map(_literal, labels))})"

    def drop(self, key: Key) -> str:
        return f"DROP TYPE {self.name(key)}"

    def add_values(self, key: Key, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
        """Yield a statement for each added value, at its place."""
        for place, label in enumerate(new):
            if label not in old:
                where = (
                    f"AFTER {_literal(new[place - 1])}" if place else f"BEFORE {_literal(old[0])}"
                )
                value = f"ADD VALUE IF NOT EXISTS {_literal(label)} {where}"
                yield f"ALTER TYPE {self.name(key)} {value}"

    def rebuild(self, key: Key, labels: Sequence[str], uses: Sequence[_Use]) -> Iterator[str]:
        """Yield statements that replace the type by one with other values."""
        schema, name = key
        old = f"{name[:57]}__old"
        yield f"ALTER TYPE {self.name(key)} RENAME TO {self._quote(old)}"
        yield self.create(key, labels)
        for use in uses:
            yield from self._convert(use, self.name(key), labels)
        yield self.drop((schema, old))

    def _convert(self, use: _Use, type_: str, labels: Sequence[str]) -> Iterator[str]:
        table, column = self.name((use.schema, use.table)), self._quote(use.column)
        alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
        array = "[]" if use.array else ""
        if use.default is not None:
            yield f"{alter} DROP DEFAULT"
        yield f"{alter} TYPE {type_}{array} USING {column}::text{array}::{type_}{array}"
        if use.default is not None and any(_literal(label) in use.default for label in labels):
            yield f"{alter} SET DEFAULT {use.default}"


def _literal(label: str) -> str:
    return "'" + label.replace("'", "''") + "'"


def code_of(statements: Sequence[str], *, committed: bool = False) -> str:
    """Return the code that executes statements.

    Args:
        statements: The SQL.
        committed: Whether later statements of the revision use what these add. PostgreSQL allows
            that for a value of an enum only after a commit.
    """
    lines = [f"op.execute({escape(one)!r})" for one in statements]
    if committed and lines:
        return "\n    ".join(["with op.get_context().autocommit_block():", *lines])
    return "\n".join(lines)
