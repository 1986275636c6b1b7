"""Run `outbox deliver`: its preview, the delivery on the run's database, and its result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, TemporaryError
from oneoff.core.policy import Mode
from oneoff.core.result import Result
from oneoff.database.transaction import begin_work
from oneoff.services.batch.transactions import Transactions, session_in
from oneoff.services.outbox.delivery import Delivered, deliver_effects, plan
from oneoff.services.outbox.effects import Handler
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.database.engine import Database


async def preview(database: Database, handlers: Mapping[str, Handler], *, given_up: bool) -> Result:
    """Return the result of a dry run: the number of effects that would be tried."""
    async with begin_work(database, Mode.READ_ONLY) as work:
        planned = await plan(work.session, handlers, given_up=given_up)
    rows = sum(one["waiting"] for one in planned if one["has_handler"])
    if not rows:
        return Result.unchanged("nothing to deliver", data=planned)
    return Result.changed(f"would deliver {counted(rows, 'effect')}", rows=rows, data=planned)


async def deliver_all(
    database: Database, handlers: Mapping[str, Handler], given: Mapping[str, Any], **bounds: Any
) -> Delivered:
    """Deliver on one connection, because the transactions run one after the other."""
    async with Transactions(database) as transactions:

        @asynccontextmanager
        async def transaction() -> AsyncIterator[AsyncSession]:
            async with transactions.begin() as connection, session_in(connection) as session:
                yield session

        return await deliver_effects(transaction, handlers, given=given, **bounds)


def result_of(delivered: Delivered) -> Result:
    """Return the result of the run.

    Raises:
        CommandError: `effect-given-up`.
        TemporaryError: `effects-left`: effects failed, or a bound was reached before the end.
    """
    done, failed = delivered.done.total(), delivered.failed.total()
    if lost := delivered.given_up.total():
        raise CommandError(
            f"{counted(lost, 'effect')} given up, {done} delivered, {failed} to be tried again",
            why="an effect whose last attempt fails is not tried again by itself",
            try_=(
                "python manage.py outbox list --state given-up",
                "python manage.py outbox deliver --given-up",
            ),
            code="effect-given-up",
        )
    if failed or delivered.bounded:
        left = f"{failed} failed" if failed else "there are more"
        raise TemporaryError(
            f"{counted(done, 'effect')} delivered, {left}",
            why="the next run tries the remaining effects",
            try_="python manage.py outbox list",
            code="effects-left",
        )
    warnings = [
        f"{counted(number, 'effect')} of the kind {kind!r} waiting: it has no handler"
        for kind, number in delivered.unhandled.items()
    ]
    if not done:
        return Result.unchanged("nothing to deliver", data=delivered.by_kind(), warnings=warnings)
    said = f"delivered {counted(done, 'effect')}"
    return Result.changed(said, rows=done, data=delivered.by_kind(), warnings=warnings)
