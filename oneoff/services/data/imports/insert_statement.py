"""Build the INSERT statement of an import, with its ON CONFLICT clause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

_MOMENTS = (Kind.TIMESTAMP, Kind.INSTANT)


def insert_statement(plan: Plan, rows: str) -> str:
    """Return the INSERT statement for rows.

    Args:
        plan: The target, the written columns, and the handling of existing rows.
        rows: A SELECT of the written columns, or VALUES.
    """
    has_identity = any(column.identity for column in plan.written)
    overriding = " OVERRIDING SYSTEM VALUE" if has_identity else ""
    return (
        f"INSERT INTO {plan.table.quoted} ({plan.quoted_columns}){overriding} {rows}"
        + _on_conflict(plan)
    )


def _on_conflict(plan: Plan) -> str:
    if plan.on_conflict == "error":
        return ""
    key = ", ".join(map(quote, plan.key))
    changed = [
        column
        for column in plan.written
        if column.name not in plan.key and column.identity != "always"
    ]
    if plan.on_conflict == "skip" or not changed:
        return f" ON CONFLICT ({key}) DO NOTHING"
    sets = ", ".join(f"{quote(c.name)} = excluded.{quote(c.name)}" for c in changed)
    # Without this WHERE, PostgreSQL and SQLite would write and count rows that already have these
    # values.
    differ = _differ_sqlite if plan.table.dialect == "sqlite" else _differ_postgresql
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE {differ(plan, changed)}"


def _differ_postgresql(plan: Plan, columns: Sequence[Column]) -> str:
    """Return a condition: the existing row and the new one differ in one of these columns."""
    names = [quote(column.name) for column in columns]
    existing = ", ".join(f"{plan.table.quoted}.{name}" for name in names)
    # *<> compares the stored bytes. Types may call different values equal ('a' and 'A' of citext,
    # 1.0 and 1.00, 1 day and 24 hours), and some types have no equality at all (json, point, xml).
    new = ", ".join(f"excluded.{name}" for name in names)
    # Without the cast, PostgreSQL would look for an operator *<> of each pair of columns.
    return f"ROW({existing})::record *<> ROW({new})::record"


def _differ_sqlite(plan: Plan, columns: Sequence[Column]) -> str:
    """Return the same condition; the collation of a column must not call other texts equal."""
    return " OR ".join(_differs_sqlite(plan, column) for column in columns)


def _differs_sqlite(plan: Plan, column: Column) -> str:
    name = quote(column.name)
    existing, new = f"{plan.table.quoted}.{name} COLLATE BINARY", f"excluded.{name}"
    if column.kind not in _MOMENTS:
        return f"{existing} IS NOT {new}"
    # CURRENT_TIMESTAMP stores no fraction, but an import always writes six digits. Without this
    # comparison such a row would count as different.
    return f"({existing} IS NOT {new} AND {plan.table.quoted}.{name} || '.000000' IS NOT {new})"
