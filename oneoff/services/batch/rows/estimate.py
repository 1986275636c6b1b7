"""About how many rows a batch has, without reading them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.sql.compiler import SQLCompiler


class Explain(Executable, ClauseElement):
    """The plan of a statement, as PostgreSQL makes it."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _compile(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


async def estimate(connection: AsyncConnection, statement: Select[Any]) -> int:
    """Return the planner's guess; SQLite, which makes none, counts.

    A count of ten million rows would take PostgreSQL seconds before the first batch.
    """
    if connection.dialect.name != "postgresql":
        counted = select(func.count()).select_from(statement.subquery())
        return await connection.scalar(counted) or 0
    # A plan would be converted as if it were the first column's value, so that has no type.
    rows: Select[Any] = select(literal_column("1")).select_from(statement.subquery())
    plan = await connection.scalar(Explain(rows))
    facts: Any = json.loads(plan) if isinstance(plan, str) else plan
    return int(facts[0]["Plan"]["Plan Rows"])
