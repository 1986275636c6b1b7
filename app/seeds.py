"""Sample data for `db seed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import users
from app.passwords import UNUSABLE
from app.roles import Role
from oneoff import Seed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

PEOPLE = (
    ("ada", "ada@example.com", Role.ADMIN),
    ("grace", "grace@example.com", Role.MODERATOR),
    ("linus", "linus@example.com", Role.USER),
)


async def seed_users(session: AsyncSession) -> int:
    """Add the sample users who are missing.

    None of them can sign in: a password that is the same everywhere is one that everybody knows.
    `user reset-password` gives one.
    """
    written = 0
    for username, email, role in PEOPLE:
        _, created = await users.create(
            session, username, email, password_hash=UNUSABLE, role=role, if_not_exists=True
        )
        written += created
    return written


SEEDS = (
    Seed(name="users", help="An admin, a moderator and a user to try things on.", run=seed_users),
)
