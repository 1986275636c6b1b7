"""What was changed in all rows once, for `data transform`."""

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
    """Empty users.locale again; what was said by the browser stays."""

    range_column = "id"

    def change(self) -> Update:
        """Empty it where it is filled."""
        return update(User).where(User.locale.is_not(None)).values(locale=None)


class FillLocale(Transform):
    """Fill users.locale from the last seen Accept-Language."""

    name = "fill-locale"
    task_id = "ADM-002"
    revert = ForgetLocale

    def select(self) -> Select[User]:
        """Ask for those whose browser has said something, and who have no locale yet."""
        unfilled = User.locale.is_(None) & User.accept_language.is_not(None)
        return select(User).where(unfilled).with_for_update(of=User)

    async def process(self, session: AsyncSession, batch: Sequence[User]) -> int:
        """Take the language of ours that the browser prefers."""
        for user in batch:
            user.locale = best_match(user.accept_language or "")
        return len(batch)


TRANSFORMS = (FillLocale,)
