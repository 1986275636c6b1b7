"""The warmers for `cache warm`: store answers in Redis that are needed often."""

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
"""Redis key. JSON: each role with the number of its active users."""
ADMINS = "shop:admins"
"""Redis key. JSON: the usernames of the active admins, sorted."""
TTL = 3_600
"""Seconds until a stored answer expires."""


async def warm_user_counts(session: AsyncSession, cache: Redis) -> int:
    """Store the number of active users of each role; return the number of keys written."""
    counting = select(User.role, func.count()).where(User.active).group_by(User.role)
    counts = dict.fromkeys(map(str, Role), 0)
    for role, number in await session.execute(counting):
        counts[role.value] = number
    await _put(cache, USER_COUNTS, counts)
    return 1


async def warm_admins(session: AsyncSession, cache: Redis) -> int:
    """Store the usernames of the active admins; return the number of keys written."""
    admins = select(User.username).where(User.role == Role.ADMIN, User.active)
    names = await session.scalars(admins.order_by(User.username))
    await _put(cache, ADMINS, list(names))
    return 1


async def _put(cache: Redis, key: str, value: Any) -> None:
    await cache.set(key, json.dumps(value), ex=TTL)


WARMERS = (
    Warmer(
        name="user-counts",
        help="The number of active users of each role.",
        run=warm_user_counts,
    ),
    Warmer(name="admins", help="The usernames of the active admins.", run=warm_admins),
)
