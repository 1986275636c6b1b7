"""Compare the database with the models: the operations that make the database match them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.util import rev_id
from sqlalchemy.util import asbool

from oneoff.services.migrations import enums
from oneoff.services.migrations.alembic_context import configured
from oneoff.services.migrations.circles import late_keys
from oneoff.services.migrations.comparison import Comparison, compare_type
from oneoff.services.migrations.constraint_names import name_operations
from oneoff.services.migrations.conversions import convert_columns
from oneoff.services.migrations.history import History
from oneoff.services.migrations.reflection import Reader, reading_together
from oneoff.services.migrations.rendering import Renderer
from oneoff.services.migrations.sqlite_indexes import compare_expression_indexes

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

# Warnings about what this package compares itself.
_HANDLED = ("expression-based index", "Computed default on", "Cannot correctly sort tables")


NOT_COMPARED = "rows, collations, triggers, views, functions, and on SQLite checks without a name"
AGREEMENT = (
    "the models and the database agree in tables, columns, types, defaults, generated columns, "
    f"keys, constraints, indexes and enums; not compared: {NOT_COMPARED}"
)
"""What the comparison knows if it finds no difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The operations that make the database match the models.

    Attributes:
        operations: One line for each operation: "add column users.locale".
        scripts: The revisions with these operations, as env.py has changed them.
        renderer: Writes the operations as Python; None if there can't be any.
        drops: The tables and columns that the operations drop: "users.name", "old_users".
        renames: What may be a rename: "users.name to users.full_name".
        warnings: What Alembic and SQLAlchemy could not compare.
    """

    operations: Sequence[str] = ()
    scripts: Sequence[ops.MigrationScript] = ()
    renderer: Renderer | None = None
    drops: Sequence[str] = ()
    renames: Sequence[str] = ()
    warnings: Sequence[str] = ()


def compare(
    connection: Connection, history: History, heads: Sequence[str], message: str = ""
) -> Difference:
    """Compare the models in env.py with the database. Only reads.

    Args:
        connection: The connection.
        history: The revisions, and the options of env.py.
        heads: The revisions of the database.
        message: What the new revision is for.
    """
    options = {"compare_type": compare_type, "compare_server_default": True}
    with configured(connection, history, **options) as context:
        return _difference(context, tuple(heads), message)


def blank(
    connection: Connection,
    history: History,
    heads: Sequence[str],
    message: str,
    after: Sequence[str],
) -> Difference:
    """Return a revision without operations that follows the revisions `after`.

    As with Alembic, env.py can change it if `revision_environment` is set, unless it is a merge.
    """
    script = ops.MigrationScript(
        rev_id(), ops.UpgradeOps([]), ops.DowngradeOps([]), message=message
    )
    script.head = [*after] or None  # type: ignore[assignment]  # Alembic takes a list too
    asked = history.config.get_alembic_option("revision_environment")
    if len(after) > 1 or not asbool(asked or False):
        return Difference(scripts=[script])
    with configured(connection, history) as context:
        return _described(context, tuple(heads), script, Renderer(context))


def _difference(context: MigrationContext, heads: tuple[str, ...], message: str) -> Difference:
    connection = context.connection
    assert connection is not None  # noqa: S101 - only offline runs have none
    comparison, reader = Comparison(context), Reader(connection, *enums.QUERIES)
    with warnings.catch_warnings(record=True) as caught, reading_together(reader):
        warnings.simplefilter("always")
        script = produce_migrations(context, context.opts["target_metadata"])
        upgrade = script.upgrade_ops
        assert upgrade is not None  # noqa: S101 - only the run of several databases has none
        comparison.complete(upgrade)
    tables = comparison.tables
    if context.dialect.name == "sqlite":
        upgrade.ops += compare_expression_indexes(connection, tables)
    late = late_keys(upgrade, context.dialect.name)
    upgrade.ops += map(ops.CreateForeignKeyOp.from_constraint, late)
    name_operations(upgrade.ops)
    if context.dialect.name == "postgresql":
        here = str(context.dialect.default_schema_name)
        dropped = [
            (one.schema or here, one.table_name)
            for one in upgrade.ops
            if isinstance(one, ops.DropTableOp)
        ]
        first, last = enums.compare_enums(reader, tables, dropped)
        upgrade.ops[:] = [*first, *upgrade.ops, *last]
    script.downgrade_ops = downgrade = upgrade.reverse()
    if context.dialect.name == "postgresql":
        convert_columns([*upgrade.ops, *downgrade.ops], context.dialect)
    script.rev_id, script.message = rev_id(), message
    found = _described(context, heads, script, Renderer(context, late))
    return replace(found, warnings=_texts(caught))


def _texts(caught: Iterable[warnings.WarningMessage]) -> tuple[str, ...]:
    texts = {str(one.message) for one in caught}
    return tuple(sorted(one for one in texts if not any(known in one for known in _HANDLED)))


def _described(
    context: MigrationContext,
    heads: tuple[str, ...],
    script: ops.MigrationScript,
    renderer: Renderer,
) -> Difference:
    """Let env.py change the revision, and describe what is left."""
    scripts = [script]
    change = context.opts.get("process_revision_directives")
    if change is not None:
        change(context, heads, scripts)
    upgrades = [one for script in scripts for one in script.upgrade_ops_list]
    operations = [part for one in upgrades for part in one.ops]
    drops, adds = _dropped(operations), _added(operations)
    return Difference(
        operations=[line for one in upgrades for line in _describe(one.as_diffs())],
        scripts=scripts,
        renderer=renderer,
        drops=drops,
        renames=[*_renames(drops, adds)],
    )


def _dropped(operations: Iterable[Any]) -> list[str]:
    """Return the tables and columns that operations drop; a column that is added again is not."""
    added = _added(operations)
    found: list[str] = []
    for one in operations:
        if isinstance(one, ops.DropTableOp):
            found.append(_name(one.schema, one.table_name))
        elif isinstance(one, ops.ModifyTableOps):
            columns = [part for part in one.ops if isinstance(part, ops.DropColumnOp)]
            found += [
                f"{_name(one.schema, one.table_name)}.{part.column_name}"
                for part in columns
                if f"{_name(one.schema, one.table_name)}.{part.column_name}" not in added
                or part.to_column().computed is None
            ]
    return found


def _added(operations: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for one in operations:
        if isinstance(one, ops.CreateTableOp):
            found.append(_name(one.schema, one.table_name))
        elif isinstance(one, ops.ModifyTableOps):
            found += [
                f"{_name(one.schema, one.table_name)}.{part.column.name}"
                for part in one.ops
                if isinstance(part, ops.AddColumnOp)
            ]
    return found


def _renames(drops: Sequence[str], adds: Sequence[str]) -> Iterator[str]:
    """Yield what may be a rename: the only drop and the only addition in the same place."""
    for name in drops:
        place = name.rpartition(".")[0]
        alike = [one for one in adds if one.rpartition(".")[0] == place and one not in drops]
        if len(alike) == len([one for one in drops if one.rpartition(".")[0] == place]) == 1:
            yield f"{name} to {alike[0]}"


def _name(schema: str | None, table: str) -> str:
    return f"{schema}.{table}" if schema else table


def _describe(diffs: Any) -> Iterable[str]:
    # Alembic returns a tuple for one difference, and a list for the changes of one column.
    if isinstance(diffs, tuple):
        yield _describe_one(*diffs)
    else:
        for diff in diffs:
            yield from _describe(diff)


def _describe_one(kind: str, *facts: Any) -> str:
    if kind == "enum" or not facts:
        return " ".join(facts) or kind
    verb, _, what = kind.partition("_")
    if what == "primary key":
        return f"{verb} primary key of {facts[0]}: {facts[1]}"
    if kind.startswith("modify_"):
        table, column = facts[1], facts[2]
        return f"change {what.replace('_', ' ')} of {table}.{column} to {_value(facts[-1])}"
    if what == "column":
        return f"{verb} column {facts[1]}.{facts[2].name}"
    subject = facts[0]
    table = getattr(subject, "table", None)
    name = getattr(subject, "name", None) or (
        " ".join(subject.split()) if isinstance(subject, str) else "without a name"
    )
    on = f" on {table.name}" if table is not None else ""
    kinds = {"": "", "fk": "foreign key "}
    return f"{verb} {kinds.get(what, what.replace('_', ' ') + ' ')}{name}{on}"


def _value(value: Any) -> str:
    """Return a new value as SQL or Python writes it."""
    argument = getattr(value, "arg", value)
    return repr(argument) if isinstance(argument, str) else str(argument)
