"""Figures that are kept day by day, because yesterday's can't be counted any more."""

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
    """Store how many users of each role there were at the end of a day; return the numbers.

    Doing it again replaces them. The roles are today's: the past ones are nowhere kept.

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
    # One statement, so that two workers with the same day don't get in each other's way.
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["day", "role"], set_={"users": statement.excluded.users}
        )
    )
    return counts
