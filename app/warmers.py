"""What `cache warm` puts into Redis: answers that are asked for again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from app.models import User
from app.roles import Role
from oneoff import Warmer

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncSession

USER_COUNTS = "shop:user-counts"
"""JSON: each role with the number of its active users."""
ADMINS = "shop:admins"
"""JSON: the usernames of the active admins, in order."""
TTL = 3_600
"""Seconds until an answer is asked of the database again."""


async def warm_user_counts(session: AsyncSession, cache: Redis) -> int:
    """Count the active users of each role."""
    counting = select(User.role, func.count()).where(User.active).group_by(User.role)
    counts = dict.fromkeys(map(str, Role), 0)
    for role, number in await session.execute(counting):
        counts[role.value] = number
    await _put(cache, USER_COUNTS, counts)
    return 1


async def warm_admins(session: AsyncSession, cache: Redis) -> int:
    """List the active admins."""
    admins = select(User.username).where(User.role == Role.ADMIN, User.active)
    names = await session.scalars(admins.order_by(User.username))
    await _put(cache, ADMINS, list(names))
    return 1


async def _put(cache: Redis, key: str, value: Any) -> None:
    await cache.set(key, json.dumps(value), ex=TTL)


WARMERS = (
    Warmer(
        name="user-counts",
        help="How many active users each role has.",
        run=warm_user_counts,
    ),
    Warmer(name="admins", help="Who the active admins are.", run=warm_admins),
)
