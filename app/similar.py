"""What somebody may have meant who named something that is not there."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute


async def did_you_mean(
    session: AsyncSession, column: InstrumentedAttribute[Any], name: str, *, listing: str
) -> str:
    """Return the values of a column that are like a name; else the command that lists them."""
    # People rarely mistype the first letter; the bound keeps a large table from being read whole.
    near = select(column).where(column.startswith(name[:1], autoescape=True)).limit(1_000)
    similar = get_close_matches(name, (await session.scalars(near.order_by(column))).all())
    if similar:
        return f"did you mean {' or '.join(similar)}?"
    return f"python manage.py {listing}"
