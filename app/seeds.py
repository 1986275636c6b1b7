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
    """Create the sample users that do not exist; return how many were created.

    They have no password, because a default password would be known to everyone. Set one with
    `user reset-password`.
    """
    written = 0
    for username, email, role in PEOPLE:
        _, created = await users.create(
            session, username, email, password_hash=UNUSABLE, role=role, if_not_exists=True
        )
        written += created
    return written


SEEDS = (
    Seed(name="users", help="An admin, a moderator and a user for development.", run=seed_users),
)
