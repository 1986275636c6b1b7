"""Compare the enum types of PostgreSQL with the models, and write the SQL that changes them.

Alembic does not: it creates a type with its first table, and neither adds values nor drops a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic.autogenerate.render import renderers
from alembic.operations.ops import MigrateOperation
from sqlalchemy import ARRAY, Enum

from oneoff.services.migrations.colons import escape
from oneoff.services.migrations.reflection import Reader, query_of

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy import Dialect, Table
    from sqlalchemy.types import TypeEngine

_TYPES = query_of(
    ("schema", "name", "labels"),
    """
SELECT nspname AS schema, typname AS name,
       array_agg(enumlabel::text ORDER BY enumsortorder) AS labels
FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace
GROUP BY nspname, typname
""",
)
_COLUMNS = query_of(
    ("type_schema", "type_name", "schema", "table", "column", "array", "value"),
    """
SELECT tn.nspname AS type_schema, t.typname AS type_name, cn.nspname AS schema, relname AS table,
       attname AS column, atttypid <> t.oid AS array, pg_get_expr(adbin, adrelid) AS value
FROM pg_type t JOIN pg_namespace tn ON tn.oid = t.typnamespace
JOIN pg_attribute a ON atttypid IN (t.oid, t.typarray) AND attnum > 0 AND NOT attisdropped
JOIN pg_class c ON c.oid = attrelid AND relkind IN ('r', 'p') AND NOT relispartition
JOIN pg_namespace cn ON cn.oid = relnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE t.typtype = 'e' ORDER BY 3, 4, attnum
""",
)
QUERIES = (_TYPES, _COLUMNS)
"""The queries of `compare_enums`."""

Key = tuple[str, str]
"""Schema and name of a type."""


class _Use(NamedTuple):
    """A column in the database whose type is an enum, or an array of it."""

    schema: str
    table: str
    column: str
    array: bool
    default: str | None


class EnumOp(MigrateOperation):
    """Change an enum type with statements of PostgreSQL.

    Attributes:
        committed: Whether later statements of the revision use a value that these add. PostgreSQL
            allows that only after a commit.

    Args:
        shown: What the list of operations shows.
        apply: The statements.
        undo: The statements that undo them.
        added: The values that are added to an existing type.
    """

    def __init__(
        self, shown: str, apply: Iterable[str], undo: Iterable[str], added: Sequence[str] = ()
    ) -> None:
        self.shown = shown
        self.apply = list(apply)
        self.undo = list(undo)
        self.added = added
        self.committed = False

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return EnumOp(f"undo: {self.shown}", self.undo, self.apply)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what the list of operations shows."""
        return "enum", self.shown


@renderers.dispatch_for(EnumOp)
def _render(_context: AutogenContext, operation: EnumOp) -> list[str]:
    lines = [f"op.execute({escape(one)!r})" for one in operation.apply]
    return (
        ["with op.get_context().autocommit_block():", *lines, ""] if operation.committed else lines
    )


def compare_enums(
    reader: Reader, tables: Sequence[Table], dropped: Iterable[tuple[str, str]]
) -> tuple[list[EnumOp], list[EnumOp]]:
    """Return the operations that give the database the enum types of the models.

    The first list comes before all other operations of the revision, the second one after them. A
    type that no model uses is dropped if all its columns belong to tables that the revision changes
    or drops.

    Args:
        reader: Reads `QUERIES`.
        tables: The tables of the models.
        dropped: Schema and name of the tables that the revision drops.
    """
    here = str(reader.dialect.default_schema_name)
    wanted = dict(_wanted(reader.dialect, tables, here))
    present = {(schema, name): tuple(labels) for schema, name, labels in reader.rows(_TYPES)}
    uses: dict[Key, list[_Use]] = {}
    for schema, name, *column in reader.rows(_COLUMNS):
        uses.setdefault((schema, name), []).append(_Use(*column))
    ours = {(table.schema or here, table.name) for table in tables} | {*dropped}
    sql = _Statements(reader.dialect, here)
    first = [
        sql.change(key, present[key], labels, uses.get(key, []))
        if key in present
        else EnumOp(f"add enum {sql.name(key)}", [sql.create(key, labels)], [sql.drop(key)])
        for key, labels in wanted.items()
        if labels != present.get(key)
    ]
    last = [
        EnumOp(f"remove enum {sql.name(key)}", [sql.drop(key)], [sql.create(key, present[key])])
        for key in sorted(uses.keys() - wanted.keys())
        if all((use.schema, use.table) in ours for use in uses[key])
    ]
    return first, last


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

    def change(
        self, key: Key, old: Sequence[str], new: Sequence[str], uses: Sequence[_Use]
    ) -> EnumOp:
        """Return the operation that gives a type other values. PostgreSQL can't remove one."""
        added = [label for label in new if label not in old]
        undo = self.rebuild(key, old, uses)
        if [label for label in new if label in old] == list(old):
            shown = f"add value {', '.join(map(repr, added))} to enum {self.name(key)}"
            return EnumOp(shown, self.add_values(key, old, new), undo, added)
        lost = ", ".join(repr(label) for label in old if label not in new)
        what = f"remove value {lost}" if lost else "change the order of the values"
        return EnumOp(f"rebuild enum {self.name(key)}: {what}", self.rebuild(key, new, uses), undo)

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
