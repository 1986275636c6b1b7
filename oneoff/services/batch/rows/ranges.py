"""Estimate the number of rows of a batch, and split its keys into ranges of about the same size.

The limits of the ranges are quantiles of the keys, or of a sample of the keys if the table is
large. They are not computed from the smallest and the largest key: keys have gaps, and a distance
between texts can't be divided.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, func, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

from oneoff.services.batch.command import BatchRange
from oneoff.services.batch.rows.cursor import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnClause, ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.sql.compiler import SQLCompiler

    from oneoff.services.batch.rows.selection import Selection

BLOCKS_PER_SHARD = 30
"""Blocks sampled for each range."""
# Rows of one block often have neighbouring keys, and then a block gives no more information than
# one row. With 30 blocks, the size of a range is within about a fifth of its fair share.
MIN_BLOCKS = 1_000
"""Tables of up to this many blocks (8 MB) are read completely."""
MIN_KEYS = 20
"""Keys that each range needs in the sample. If the command selects fewer of the sampled rows, the
ranges are split evenly over all rows of the table."""
NO_ROWS = "null"
"""The stored value of both limits of a range without rows."""

# The number of blocks of a table. A partitioned table has no blocks itself, so its partitions are
# added up. The relkind condition excludes views and foreign tables, which can't be sampled.
_BLOCKS = """
SELECT coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid)),
                pg_relation_size(c.oid))::bigint / current_setting('block_size')::bigint
FROM pg_class AS c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'm')
"""


class _Explain(Executable, ClauseElement):
    """The plan of a statement, as PostgreSQL makes it."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _compile(element: _Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


async def estimate(connection: AsyncConnection, keys: Select[Any]) -> int:
    """Return the estimated number of rows of a select, from PostgreSQL's planner.

    Counting ten million rows would delay the first batch by seconds. SQLite has no estimate, so
    its rows are counted.
    """
    if connection.dialect.name != "postgresql":
        return await connection.scalar(select(func.count()).select_from(keys.subquery())) or 0
    # SQLAlchemy converts the plan with the type of the first selected column, so that column must
    # not have a type.
    rows: Select[Any] = select(literal_column("1")).select_from(keys.subquery())
    plan = await connection.scalar(_Explain(rows))
    facts: Any = json.loads(plan) if isinstance(plan, str) else plan
    return int(facts[0]["Plan"]["Plan Rows"])


async def split(
    connection: AsyncConnection, selection: Selection, shards: int
) -> list[BatchRange | None]:
    """Return as many ranges as shards, in order; None for a range without rows.

    The first range starts where the selection starts, and the last one ends where it ends. So rows
    outside the sampled keys, and rows that are inserted later, belong to a range too. Rows with
    equal keys are in one range: equal quantiles become one limit, and the last ranges are None.
    """
    bounds = list(dict.fromkeys((await _quantiles(connection, selection, shards))[:-1]))
    limits = selection.limits or BatchRange()
    lows, highs = [limits.low, *bounds], [*bounds, limits.high]
    ranges = [BatchRange(low, high) for low, high in zip(lows, highs, strict=True)]
    return [*ranges, *[None] * (shards - len(ranges))]


def stored(limits: BatchRange | None) -> dict[str, str | None]:
    """Return a range as the columns that store it."""
    if limits is None:
        return {"low": NO_ROWS, "high": NO_ROWS}
    values = limits._asdict().items()
    return {name: None if value is None else encode(value) for name, value in values}


def restored(low: str | None, high: str | None) -> BatchRange | None:
    """Return the range that the columns store."""
    if low == NO_ROWS:
        return None
    return BatchRange(*(None if text is None else decode(text) for text in (low, high)))


async def _quantiles(
    connection: AsyncConnection, selection: Selection, shards: int
) -> Sequence[Any]:
    """Return the last key of each range; fewer if there are fewer keys.

    A small table is read completely. From a large table, blocks are sampled, and the quantiles are
    those of the selected rows among them. If the command selects too few of the sampled rows, their
    quantiles would be random. Then all sampled rows are used, without the command's conditions:
    this splits the table evenly, but the selected rows only roughly.
    """
    blocks = await _blocks(connection, selection)
    wanted = max(MIN_BLOCKS, BLOCKS_PER_SHARD * shards)
    keys = selection.keys(None)
    if blocks <= wanted:
        return (await connection.scalars(_last_of_each(keys, shards))).all()
    # SYSTEM reads entire blocks, so the cost depends on the sample and not on the table. With the
    # same seed, all statements below sample the same blocks.
    sample = selection.table.tablesample(
        func.system(100 * wanted / blocks), name="oneoff_sampled", seed=literal_column("1")
    )
    among = keys.where(_ctid(selection.table).in_(select(_ctid(sample))))
    found = (await connection.scalars(_last_of_each(among, shards))).all()
    enough = MIN_KEYS * shards
    sampled = select(func.count()).select_from(among.limit(enough).subquery())
    if len(found) == shards and (await connection.scalar(sampled) or 0) >= enough:
        return found
    key = sample.c[str(selection.column.key)]
    evenly = select(key).where(key.is_not(None))
    return (await connection.scalars(_last_of_each(evenly, shards))).all()


async def _blocks(connection: AsyncConnection, selection: Selection) -> int:
    """Return the size of the table in blocks; 0 for a table that can't be sampled."""
    if connection.dialect.name != "postgresql":
        return 0
    name = connection.dialect.identifier_preparer.format_table(selection.table)
    found = await connection.exec_driver_sql(_BLOCKS, (name,))
    return found.scalar_one_or_none() or 0


def _last_of_each(keys: Select[Any], shards: int) -> Select[Any]:
    """Select the last key of each of `shards` equal parts, in order."""
    # Up to row n of t rows, floor(n * shards / t) parts are complete. A row is the last one of a
    # part exactly if this number is higher than for the row before it. Integer division is exact,
    # and works the same on SQLite. `percentile_disc` exists only in PostgreSQL, and needs one
    # number for each part.
    inner = keys.subquery()
    key = inner.c[0]
    place = func.row_number().over(order_by=key)
    numbered = select(key.label("key"), place.label("place"), func.count().over().label("total"))
    each = numbered.subquery()
    done, before = each.c.place * shards, (each.c.place - 1) * shards
    ends = done // each.c.total > before // each.c.total
    return select(each.c.key).where(ends).order_by(each.c.place)


def _ctid(table: Any) -> ColumnElement[Any]:
    """Return the physical place of a row.

    With a semi-join on it, PostgreSQL fetches the sampled rows by their place, and does not read
    the entire table to find the rows of the sample.
    """
    place: ColumnClause[Any] = column("ctid")
    place.table = table
    return place
