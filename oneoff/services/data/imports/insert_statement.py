"""Build the INSERT statement of an import, with its ON CONFLICT clause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

_MOMENTS = (Kind.TIMESTAMP, Kind.INSTANT)
_WITHOUT_EQUALITY = (Kind.JSON, Kind.OTHER)


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
    differ = " OR ".join(_differs(plan, column) for column in changed)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE {differ}"


def _differs(plan: Plan, column: Column) -> str:
    """Return a condition: the existing row and the new one differ in this column."""
    name = quote(column.name)
    sides = (f"{plan.table.quoted}.{name}", f"excluded.{name}")
    if plan.table.dialect == "sqlite":
        differs = " IS NOT ".join(sides)
        if column.kind not in _MOMENTS:
            return differs
        # CURRENT_TIMESTAMP stores no fraction, but an import always writes six digits. Without this
        # comparison such a row would count as different.
        return f"({differs} AND {sides[0]} || '.000000' IS NOT {sides[1]})"
    if column.kind in _WITHOUT_EQUALITY:  # json, point, xml and others have no equality operator
        sides = (f"{sides[0]}::text", f"{sides[1]}::text")
    return " IS DISTINCT FROM ".join(sides)
