"""Suggest existing names for a name that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute


async def did_you_mean(
    session: AsyncSession, column: InstrumentedAttribute[Any], name: str | None, *, listing: str
) -> str:
    """Return a hint: the values of a column that are similar, or else the command to list them.

    Args:
        session: The caller's transaction.
        column: The column of names.
        name: As `names.lookup_form` returns it.
        listing: The command.
    """
    if name is None:
        return f"python manage.py {listing}"
    # People rarely mistype the first letter, and the limit bounds the work on a large table.
    near = select(column).where(column.startswith(name[:1], autoescape=True)).limit(1_000)
    similar = get_close_matches(name, (await session.scalars(near.order_by(column))).all())
    if similar:
        return f"did you mean {' or '.join(similar)}?"
    return f"python manage.py {listing}"
