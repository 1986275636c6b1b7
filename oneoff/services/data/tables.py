"""Find a table by the name that an operator gives, and read its columns from the database.

The project's metadata defines which tables and columns exist and which contain personal data. The
database defines their types. For a table that the project does not declare, all columns are used.
Only names that exist in the database become part of SQL, and this module quotes them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Sequence as DeclaredSequence
from sqlalchemy import text

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.project import PII, load_object
from oneoff.services.data.columns import (
    Column,
    Kind,
    kind_of_model,
    kind_of_postgresql,
    kind_of_sqlite,
    members_of_model,
)
from oneoff.services.data.table_names import find_name, look_up, unknown_table
from oneoff.utils.redaction import is_secret_name
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Column as ModelColumn
    from sqlalchemy import MetaData, RowMapping
    from sqlalchemy import Table as Model
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.project import Project

_SECRET_KINDS = frozenset({Kind.TEXT, Kind.BINARY, Kind.JSON, Kind.ARRAY, Kind.UUID})

# One row for each column, in the order of the table; no rows if the table does not exist.
# `t` is the column's type or, for a domain, the type below it; `e` is the same for the elements of
# an array. A domain may be over another domain. `type` and `value_type` include the length and
# precision, `base_type` does not. Types below 16384 are PostgreSQL's own. `key` is the position in
# the primary key, from 1. array_position counts from 0 here, because the subscripts of an
# int2vector do, even after the cast.
_POSTGRESQL_COLUMNS = text("""
WITH RECURSIVE below (domain, oid, typmod, depth) AS (
    SELECT oid, typbasetype, typtypmod, 1 FROM pg_type WHERE typtype = 'd'
    UNION ALL
    SELECT below.domain, d.typbasetype, d.typtypmod, depth + 1
    FROM below JOIN pg_type d ON d.oid = below.oid WHERE d.typtype = 'd'
), base AS (SELECT DISTINCT ON (domain) domain, oid, typmod FROM below ORDER BY domain, depth DESC)
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, t.typname AS base,
       format_type(t.oid, -1) AS base_type,
       format_type(t.oid, coalesce(b.typmod, a.atttypmod)) AS value_type,
       coalesce(e.typname, t.typname) AS leaf, coalesce(e.oid, t.oid) < 16384 AS built_in,
       t.typcategory::text AS category, NOT a.attnotnull AS nullable, a.atthasdef AS has_default,
       a.attgenerated <> '' AS generated, a.attidentity::text AS identity,
       array_position(i.indkey::int2[], a.attnum) + 1 AS key
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN base b ON b.domain = a.atttypid
JOIN pg_type t ON t.oid = coalesce(b.oid, a.atttypid)
LEFT JOIN pg_type element ON element.typarray = t.oid
LEFT JOIN base eb ON eb.domain = element.oid
LEFT JOIN pg_type e ON e.oid = coalesce(eb.oid, element.oid)
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
""")
# pragma_table_xinfo: `hidden` is 1 for a hidden column of a virtual table, 2 or 3 for a generated
# column. `pk` is the position in the primary key, from 1; 0 for other columns.
_SQLITE_COLUMNS = text("""
SELECT name, type, "notnull" = 0 AND pk = 0 AS nullable, dflt_value IS NOT NULL AS has_default,
       hidden IN (2, 3) AS generated, pk AS key
FROM pragma_table_xinfo(:table) WHERE hidden <> 1 ORDER BY cid
""")
# The table itself first, then those that it is a partition of or inherits from.
_POSTGRESQL_MODEL = text("""
WITH RECURSIVE same (oid, distance) AS (
    SELECT to_regclass(:table)::oid, 0
    UNION ALL
    SELECT inhparent, distance + 1 FROM pg_inherits JOIN same ON inhrelid = same.oid
)
SELECT model.at FROM unnest(CAST(:models AS text[])) WITH ORDINALITY AS model (name, at)
JOIN same ON same.oid = to_regclass(model.name)::oid
ORDER BY same.distance LIMIT 1
""")
_QUOTED_NAME = re.compile(r'"((?:[^"]|"")*)"')
_DEFAULT_SCHEMAS = ("public", "main")
"""Of PostgreSQL and SQLite, for the models that name no schema."""
_IDENTITIES = {"a": "always", "d": "default"}


class Table(NamedTuple):
    """One table of the connected database.

    Attributes:
        name: The name as operators write it: "users", "shop.users".
        quoted: The name, quoted for SQL.
        columns: Its columns in the order of the database; only the declared ones if it is declared.
        key: The names of the primary key's columns, in the order of the key; empty for none.
        declared: Whether the project's metadata declares it, and so marks its personal data.
        dialect: "postgresql" or "sqlite".
        identity: The name in the database's catalog, equal for all spellings; of a partition, the
            name of the partitioned table.
        is_view: Whether it is a view.
        children: The names of the tables that inherit from it.
        has_trigger: Whether a trigger may change a new row before its constraints are checked.
    """

    name: str
    quoted: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    declared: bool
    dialect: str
    identity: str
    is_view: bool = False
    children: tuple[str, ...] = ()
    has_trigger: bool = False

    @property
    def schema_and_name(self) -> tuple[str | None, str]:
        """The schema (or None) and the name, without quotes."""
        parts = [part.replace('""', '"') for part in _QUOTED_NAME.findall(self.quoted)]
        return (parts[0] if len(parts) > 1 else None, parts[-1])

    def columns_named(self, names: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns with these names, in this order; all columns if `names` is empty.

        Raises:
            UsageError: A name does not exist, or is given twice.
        """
        if not names:
            return self.columns
        by_name = {column.name: column for column in self.columns}
        problems = [unknown_column(self, name) for name in names if name not in by_name]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems += [f"column {name!r} is named twice" for name in twice]
        if problems:
            raise UsageError(problems, code="unknown-column")
        return tuple(by_name[name] for name in names)


async def find_table(connection: AsyncConnection, project: Project, name: str) -> Table:
    """Return the table with this name.

    Raises:
        NotFound: It exists neither in the project nor in the database.
        ConfigurationError: The project declares it, but the database has not been migrated.
    """
    metadata: MetaData | None = load_object(project.metadata) if project.metadata else None
    named = metadata.tables.get(name) if metadata is not None else None
    dialect = connection.dialect.name
    if named is not None:
        found = await look_up(connection, named.schema, named.name)
    else:
        found = await find_name(connection, name)
    if found is None:
        if named is not None:
            raise _not_migrated(name, "table")
        raise await unknown_table(connection, name, metadata.tables if metadata is not None else ())
    if dialect == "sqlite":
        name = found.identity
    quoted = ".".join(quote(part) for part in (found.schema, found.name) if part is not None)
    rows = await _columns(connection, dialect, quoted)
    if not rows:
        raise UsageError(f"the table {name} has no columns")
    declared = await _model_of(connection, quoted, metadata)
    columns = [_column(row, declared, found.names, project) for row in rows]
    key = sorted((row["key"], row["name"]) for row in rows if row["key"])
    return Table(
        name=name,
        quoted=quoted,
        columns=tuple(_declared_columns(columns, declared)),
        key=tuple(column for _, column in key),
        declared=declared is not None,
        dialect=dialect,
        identity=found.identity,
        is_view=found.is_view,
        children=found.children,
        has_trigger=found.has_trigger,
    )


def models_with_personal_data(project: Project) -> list[tuple[str, str, list[str]]]:
    """Return the quoted name, the name and the masked columns of each model that has some."""
    metadata: MetaData | None = load_object(project.metadata) if project.metadata else None
    models = metadata.tables.values() if metadata is not None else ()
    masked = [
        (_quoted(model), model.name, [one.name for one in model.columns if _of_model(one, project)])
        for model in models
    ]
    return [found for found in masked if found[2]]


def _of_model(column: ModelColumn[Any], project: Project) -> bool:
    kind = kind_of_model(column.type) or Kind.OTHER
    return _is_personal(column.name, kind, column, _names_of(column.table), project)


def unmatched_personal_columns(project: Project) -> list[str]:
    """Return the entries of `Project(pii=...)` that are no column of the project's models."""
    metadata: MetaData | None = load_object(project.metadata) if project.metadata else None
    if metadata is None:
        return []
    known = {
        name
        for model in metadata.tables.values()
        for column in model.columns
        for name in _spellings(column.name, _names_of(model))
    }
    return sorted(project.pii - known)


def _names_of(model: Model) -> Collection[str]:
    """Return the names of a model's table, with and without its schema."""
    schemas = [model.schema] if model.schema else _DEFAULT_SCHEMAS
    return {model.name, *(f"{schema}.{model.name}" for schema in schemas)}


def _spellings(column: str, tables: Collection[str]) -> set[str]:
    """Return all entries of `Project(pii=...)` that mean a column of a table with these names."""
    return {one.casefold() for one in (column, *(f"{table}.{column}" for table in tables))}


def _is_personal(
    name: str,
    kind: Kind,
    model: ModelColumn[Any] | None,
    tables: Collection[str],
    project: Project,
) -> bool:
    """Return whether a column holds personal data or secrets, which are masked by default.

    The model decides, then `Project(pii=...)`, then the name, if it is that of a secret.

    Args:
        name: The column's name.
        kind: The kind of its values.
        model: The column of the project's model; None if it has none.
        tables: The names of its table: in the database, and in the model; as in `TableName.names`.
        project: The project.
    """
    if model is not None and PII in model.info:
        return bool(model.info[PII])
    if not project.pii.isdisjoint(_spellings(name, tables)):
        return True
    return kind in _SECRET_KINDS and is_secret_name(name)


async def _model_of(
    connection: AsyncConnection, spelling: str, metadata: MetaData | None
) -> Model | None:
    """Return the model of a table, however its name was typed; for a partition, its parent's model.

    Only the model marks personal data. Without it, an export of `public.users`, of `USERS` on
    SQLite, or of a partition would not mask the values.
    """
    models = list(metadata.tables.values()) if metadata is not None else []
    quoted = [_quoted(model) for model in models]
    if connection.dialect.name == "sqlite":
        found = [one for one in quoted if one.lower() == spelling.lower()]
        return models[quoted.index(found[0])] if found else None
    at = await connection.scalar(_POSTGRESQL_MODEL, {"table": spelling, "models": quoted})
    return None if at is None else models[at - 1]


def quote(name: str) -> str:
    """Return an identifier quoted for both databases; it may contain any character."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Return a text as an SQL literal. PostgreSQL needs `standard_conforming_strings`."""
    return "'" + text.replace("'", "''") + "'"


def unknown_column(table: Table, name: str) -> str:
    """Return the message for a column that does not exist, with a similar name if there is one."""
    names = [column.name for column in table.columns]
    near = similar(name, names, limit=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return f"{table.name} has no column {name!r}: {hint}"


async def _columns(connection: AsyncConnection, dialect: str, quoted: str) -> Sequence[RowMapping]:
    if dialect == "postgresql":
        return (await connection.execute(_POSTGRESQL_COLUMNS, {"table": quoted})).mappings().all()
    # The pragma's argument is a value, so the name must not be quoted.
    name = quoted[1:-1].replace('""', '"')
    return (await connection.execute(_SQLITE_COLUMNS, {"table": name})).mappings().all()


def _column(
    row: RowMapping, declared: Model | None, tables: Collection[str], project: Project
) -> Column:
    facts: Mapping[str, Any] = {**row}
    # `declared.columns` is by key, and a column with `Column("email", key=...)` has another one.
    models = {one.name: one for one in declared.columns} if declared is not None else {}
    model = models.get(row["name"])
    if "base" in facts:
        kind = kind_of_postgresql(facts["base"], facts["category"])
    else:
        kind = (kind_of_model(model.type) if model is not None else None) or kind_of_sqlite(
            facts["type"]
        )
    if declared is not None:
        tables = {*tables, *_names_of(declared)}
    return Column(
        name=facts["name"],
        kind=kind,
        type=facts["type"],
        nullable=bool(facts["nullable"]),
        has_default=bool(facts["has_default"]),
        generated=bool(facts["generated"]),
        identity=_IDENTITIES.get(facts.get("identity") or "", ""),
        base_type=facts.get("base_type", ""),
        value_type=facts.get("value_type", facts["type"]),
        leaf=facts["leaf"] if facts.get("built_in") else "",
        pii=_is_personal(row["name"], kind, model, tables, project),
        sequence=_sequence_of(model) if model is not None else "",
        members=members_of_model(model.type) if model is not None and kind is Kind.ENUM else (),
    )


def _sequence_of(model: ModelColumn[Any]) -> str:
    """Return the quoted name of the sequence from which SQLAlchemy takes a column's values."""
    declared = model.default
    return _quoted(declared) if isinstance(declared, DeclaredSequence) else ""


def _declared_columns(columns: Sequence[Column], declared: Model | None) -> Sequence[Column]:
    """Return the columns that the project declares; others may contain personal data."""
    if declared is None:
        return columns
    names = {column.name for column in columns}
    for missing in declared.columns:
        if missing.name not in names:
            raise _not_migrated(f"{declared.name}.{missing.name}", "column")
    declared_names = {column.name for column in declared.columns}
    return [column for column in columns if column.name in declared_names]


def _quoted(declared: Model | DeclaredSequence) -> str:
    name = quote(declared.name)
    return f"{quote(declared.schema)}.{name}" if declared.schema else name


def _not_migrated(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the database has no {what} {name!r}",
        why="the project declares it, so the database is not at the revision that the code needs",
        try_=("python manage.py migrate", "python manage.py db status"),
        code="not-migrated",
    )
