"""Count users for each day. The counts are stored, because a past day can't be counted later."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.models import RoleCount, User
from app.roles import Role
from app.upsert import insert

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def refresh(session: AsyncSession, day: date) -> dict[str, int]:
    """Store the number of users of each role at the end of a day, and return the numbers.

    A second call for the same day replaces the numbers. Users are counted by their current role,
    because past roles are not stored.

    Args:
        session: The caller's transaction.
        day: In UTC.
    """
    end = datetime.combine(day + timedelta(days=1), time(), UTC)
    found = await session.execute(
        select(User.role, func.count()).where(User.created_at < end).group_by(User.role)
    )
    counts = dict.fromkeys((role.value for role in Role), 0)
    counts |= {role.value: count for role, count in found}
    rows = [{"day": day, "role": role, "users": users} for role, users in counts.items()]
    statement = insert(session, RoleCount).values(rows)
    # One statement: with SELECT and INSERT, two workers could both insert the same day.
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["day", "role"], set_={"users": statement.excluded.users}
        )
    )
    return counts
