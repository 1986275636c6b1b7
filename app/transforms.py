"""The transforms of the project, for `data transform`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Select, Update, select, update

from app.admin_tasks import LIVE, every_locale_filled, no_locale_left
from app.locales import best_match
from app.models import User
from oneoff import BatchCommand, Task, Transform

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class ForgetLocale(BatchCommand):
    """Set users.locale to NULL; users.accept_language is kept."""

    range_column = "id"
    task = Task(
        "ADM-002-revert",
        category="data-fix",
        owner="Accounts",
        author="Accounts",
        created="2026-01-12",
        invoked_by="a developer of the team Accounts, if ADM-002 has to be undone",
        approval="a second developer of the team, in the ticket",
        environments=LIVE,
        services=("PostgreSQL",),
        data={"users": "all with a locale"},
        image="the image of the release",
        compute="0.5 CPU, 512 MB",
        expected_duration="a minute for a million users",
        rollback="data transform fill-locale",
        command="data transform fill-locale --revert --confirm",
        checks=("on-call-notified",),
        verify=no_locale_left,
        afterwards="mails are written in English to all users",
    )

    def change(self) -> Update:
        """Return the UPDATE of the rows that have a locale."""
        return update(User).where(User.locale.is_not(None)).values(locale=None)


class FillLocale(Transform):
    """Fill users.locale from the stored Accept-Language."""

    name = "fill-locale"
    revert = ForgetLocale
    task = Task(
        "ADM-002",
        category="data-fix",
        owner="Accounts",
        author="Accounts",
        created="2026-01-12",
        invoked_by="a developer of the team Accounts, once in each environment",
        approval="a second developer of the team, in the ticket",
        environments=LIVE,
        services=("PostgreSQL",),
        data={"users": "all with a stored Accept-Language and without a locale"},
        image="the image of the release",
        compute="0.5 CPU, 512 MB",
        expected_duration="two minutes for a million users",
        rollback="data transform fill-locale --revert",
        command="data transform fill-locale --confirm",
        checks=("backup-completed", "staging-run-successful", "on-call-notified"),
        verify=every_locale_filled,
        afterwards="compare the languages of ten users with their headers",
    )

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
