"""The transforms of the project, for `data transform`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Select, Update, select, update

from app.locales import best_match
from app.models import User
from oneoff import BatchCommand, Transform

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class ForgetLocale(BatchCommand):
    """Set users.locale to NULL; users.accept_language is kept."""

    range_column = "id"

    def change(self) -> Update:
        """Return the UPDATE of the rows that have a locale."""
        return update(User).where(User.locale.is_not(None)).values(locale=None)


class FillLocale(Transform):
    """Fill users.locale from the stored Accept-Language."""

    name = "fill-locale"
    task_id = "ADM-002"
    revert = ForgetLocale

    def select(self) -> Select[User]:
        """Return the SELECT of users with a stored header and without a locale."""
        unfilled = User.locale.is_(None) & User.accept_language.is_not(None)
        return select(User).where(unfilled).with_for_update(of=User)

    async def process(self, session: AsyncSession, batch: Sequence[User]) -> int:
        """Set the supported language that the browser prefers."""
        for user in batch:
            user.locale = best_match(user.accept_language or "")
        return len(batch)


TRANSFORMS = (FillLocale,)
