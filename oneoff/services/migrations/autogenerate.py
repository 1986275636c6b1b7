"""Compare the database with the models: the operations that make the database match them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import produce_migrations
from alembic.operations import ops

from oneoff.services.migrations.alembic_context import run_online
from oneoff.services.migrations.circles import late_keys
from oneoff.services.migrations.comparison import Comparison, compare_type
from oneoff.services.migrations.constraint_names import name_operations
from oneoff.services.migrations.conversions import convert_columns
from oneoff.services.migrations.enums import EnumChanges, code_of, compare_enums, enum_code
from oneoff.services.migrations.history import History
from oneoff.services.migrations.rendering import Renderer
from oneoff.services.migrations.sqlite_indexes import compare_expression_indexes

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, Table

# Warnings about what this package compares itself.
_HANDLED = ("expression-based index", "Computed default on", "Cannot correctly sort tables")


NOT_COMPARED = "collations, triggers, views, functions, and on SQLite checks without a name"
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
        upgrade: Python source of the operations.
        downgrade: Python source of their inverse.
        imports: Import lines that the source needs.
        drops: The tables and columns that the operations drop: "users.name", "old_users".
        renames: What may be a rename: "users.name to users.full_name".
        warnings: What Alembic and SQLAlchemy could not compare.
    """

    operations: Sequence[str] = ()
    upgrade: str = "pass"
    downgrade: str = "pass"
    imports: Sequence[str] = ()
    drops: Sequence[str] = ()
    renames: Sequence[str] = ()
    warnings: Sequence[str] = ()


def compare(connection: Connection, history: History) -> Difference:
    """Compare the models in env.py with the database. Only reads."""
    found: list[Difference] = []

    # Alembic calls this with the context that env.py has configured. It then runs the steps that
    # this returns: none.
    def compare_models(_heads: Any, context: MigrationContext) -> tuple[()]:
        found.append(_difference(context))
        return ()

    # Without dont_mutate Alembic would create its version table.
    run_online(
        connection,
        history,
        compare_models,
        dont_mutate=True,
        compare_type=compare_type,
        compare_server_default=True,
    )
    return found[0]


def _difference(context: MigrationContext) -> Difference:
    comparison = Comparison(context)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        script = produce_migrations(context, context.opts["target_metadata"])
        upgrade = script.upgrade_ops
        if upgrade is None:
            return Difference()
        comparison.complete(upgrade)
    tables = comparison.tables
    if context.dialect.name == "sqlite" and context.connection is not None:
        upgrade.ops += compare_expression_indexes(context.connection, tables)
    late = late_keys(upgrade, context.dialect.name)
    upgrade.ops += map(ops.CreateForeignKeyOp.from_constraint, late)
    name_operations(upgrade.ops)
    enums = _enums(context, upgrade, tables)
    unsure = _texts(caught)
    if upgrade.is_empty() and not enums.operations:
        return Difference(warnings=unsure)
    downgrade = upgrade.reverse()
    if context.dialect.name == "postgresql":
        convert_columns([*upgrade.ops, *downgrade.ops], context.dialect)
    renderer = Renderer(context, enum_code, late)
    return replace(_render(renderer, upgrade, downgrade, enums), warnings=unsure)


def _texts(caught: Iterable[warnings.WarningMessage]) -> tuple[str, ...]:
    texts = {str(one.message) for one in caught}
    return tuple(sorted(one for one in texts if not any(known in one for known in _HANDLED)))


def _render(
    renderer: Renderer, upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps, enums: EnumChanges
) -> Difference:
    up, down = renderer.render(upgrade), renderer.render(downgrade)
    # PostgreSQL lets later statements use a new value of an enum only after a commit.
    used = any(repr(value) in up for value in enums.added)
    up = "\n".join([code_of(enums.before, committed=used), up, code_of(enums.after)])
    down = "\n".join([code_of(enums.undo_before), down, code_of(enums.undo_after)])
    drops, adds = _dropped(upgrade.ops), _added(upgrade.ops)
    return Difference(
        operations=(*enums.operations, *_describe(upgrade.as_diffs())),
        upgrade=up.strip("\n") or "pass",
        downgrade=down.strip("\n") or "pass",
        imports=renderer.imports(up + down),
        drops=tuple(drops),
        renames=tuple(_renames(drops, adds)),
    )


def _enums(
    context: MigrationContext, upgrade: ops.UpgradeOps, tables: Sequence[Table]
) -> EnumChanges:
    if context.connection is None or context.dialect.name != "postgresql":
        return EnumChanges()
    here = str(context.dialect.default_schema_name)
    dropped = [
        (one.schema or here, one.table_name)
        for one in upgrade.ops
        if isinstance(one, ops.DropTableOp)
    ]
    return compare_enums(context.connection, tables, dropped)


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
    name = getattr(subject, "name", None) or "without a name"
    on = f" on {table.name}" if table is not None else ""
    return f"{verb} {'foreign key' if what == 'fk' else what.replace('_', ' ')} {name}{on}"


def _value(value: Any) -> str:
    """Return a new value as SQL or Python writes it."""
    argument = getattr(value, "arg", value)
    return repr(argument) if isinstance(argument, str) else str(argument)
