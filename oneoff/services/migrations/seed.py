"""Sample data a project can load with `db seed`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One named set of sample data.

    Attributes:
        name: What the operator types: `db seed users`.
        help: One sentence for the listing.
        run: Writes the rows that are missing and returns how many it wrote. Running it twice must
            leave the same data as once.
        production: Whether it may run in production (reference data may, invented people may not).
    """

    name: str
    help: str
    run: Callable[[AsyncSession], Awaitable[int]]
    production: bool = False
