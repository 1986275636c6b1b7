"""Cut the keys of a batch into ranges with about the same number of rows.

Not by arithmetic between the smallest and the largest key: keys have gaps, and texts have none. The
bounds are quantiles of the keys themselves; of a sample of them, where the table is large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import column, func, literal_column, select

from oneoff.services.batch.command import BatchRange
from oneoff.services.batch.rows.cursor import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnClause, ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.batch.rows.selection import Selection

BLOCKS_PER_SHARD = 30
"""Blocks sampled for each range. Where neighbours in the table are neighbours by key, a block tells
no more than one row would: 30 of them put a range's size within about a fifth of its fair share."""
MIN_BLOCKS = 1_000
"""Tables up to so many blocks (8 MB) are read whole."""
MIN_KEYS = 20
"""Keys a range needs in the sample; where fewer of the sampled rows are wanted by the command, the
table is cut evenly instead."""
NOTHING = "null"
"""Both limits of a range that has no rows, as they are stored."""

_SIZE = """
SELECT coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid)),
                pg_relation_size(c.oid))::bigint / current_setting('block_size')::bigint
FROM pg_class AS c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'm')
"""


async def cut(
    connection: AsyncConnection, selection: Selection, shards: int
) -> list[BatchRange | None]:
    """Return as many ranges, in order; None for each that there are no rows left for.

    They begin and end where the selection does, so that rows beyond what was sampled are in one of
    them too. Equal keys are never parted.
    """
    bounds = list(dict.fromkeys((await _quantiles(connection, selection, shards))[:-1]))
    limits = selection.limits or BatchRange()
    lows, highs = [limits.low, *bounds], [*bounds, limits.high]
    ranges = [BatchRange(low, high) for low, high in zip(lows, highs, strict=True)]
    return [*ranges, *[None] * (shards - len(ranges))]


def stored(limits: BatchRange | None) -> dict[str, str | None]:
    """Return the columns that keep a range."""
    if limits is None:
        return {"low": NOTHING, "high": NOTHING}
    values = limits._asdict().items()
    return {name: None if value is None else encode(value) for name, value in values}


def restored(low: str | None, high: str | None) -> BatchRange | None:
    """Return the range that columns keep."""
    if low == NOTHING:
        return None
    return BatchRange(*(None if text is None else decode(text) for text in (low, high)))


async def _quantiles(
    connection: AsyncConnection, selection: Selection, shards: int
) -> Sequence[Any]:
    """Return the last key of each range; fewer where there are fewer keys."""
    blocks = await _blocks(connection, selection)
    wanted = max(MIN_BLOCKS, BLOCKS_PER_SHARD * shards)
    keys = selection.keys(None)
    if blocks <= wanted:
        return (await connection.scalars(_last_of_each(keys, shards))).all()
    sample = selection.table.tablesample(
        func.system(100 * wanted / blocks), name="oneoff_sampled", seed=literal_column("1")
    )
    found = (await connection.scalars(_last_of_each(_among(keys, selection, sample), shards))).all()
    if len(found) == shards and await _is_enough(connection, keys, selection, sample, shards):
        return found
    key = sample.c[str(selection.column.key)]
    evenly = select(key).where(key.is_not(None))
    return (await connection.scalars(_last_of_each(evenly, shards))).all()


async def _blocks(connection: AsyncConnection, selection: Selection) -> int:
    """Return the size of the table; 0 for what can't be sampled."""
    if connection.dialect.name != "postgresql":
        return 0
    name = connection.dialect.identifier_preparer.format_table(selection.table)
    found = await connection.exec_driver_sql(_SIZE, (name,))
    return found.scalar_one_or_none() or 0


def _last_of_each(keys: Select[Any], shards: int) -> Select[Any]:
    """Select the last key of each of so many equal parts, in order."""
    inner = keys.subquery()
    key = inner.c[0]
    place = func.row_number().over(order_by=key)
    numbered = select(key.label("key"), place.label("place"), func.count().over().label("total"))
    each = numbered.subquery()
    done, before = each.c.place * shards, (each.c.place - 1) * shards
    ends = done // each.c.total > before // each.c.total
    return select(each.c.key).where(ends).order_by(each.c.place)


def _among(keys: Select[Any], selection: Selection, sample: Any) -> Select[Any]:
    """Leave only those of the keys whose rows are in the sample."""
    return keys.where(_row(selection.table).in_(select(_row(sample))))


async def _is_enough(
    connection: AsyncConnection, keys: Select[Any], selection: Selection, sample: Any, shards: int
) -> bool:
    sampled = _among(keys, selection, sample).limit(MIN_KEYS * shards).subquery()
    count = await connection.scalar(select(func.count()).select_from(sampled))
    return (count or 0) >= MIN_KEYS * shards


def _row(table: Any) -> ColumnElement[Any]:
    """Return the place of a row in its table: a semi-join by it reads the sampled blocks alone."""
    place: ColumnClause[Any] = column("ctid")
    place.table = table
    return place
