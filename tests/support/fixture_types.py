"""Types of the values that the fixtures in `tests/conftest.py` return."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

Sessions = async_sessionmaker[AsyncSession]


class MakeUser(Protocol):
    """Creates a user NAME with the address NAME@example.com."""

    async def __call__(self, username: str, *, role: str = "user", active: bool = True) -> None: ...
