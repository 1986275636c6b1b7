"""Deliver the effects of the outbox. Read `Delivery._one` from top to bottom.

An attempt is counted and committed before it begins, so an effect that kills its process is given
up too in the end. The same commit claims the effect for a while, so that whoever else delivers
passes it over and counts nothing; a process that died leaves it claimed for that long. The row is
locked while the handler works, for clocks differ.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError, ConfigurationError, Unavailable
from oneoff.core.project import Project, load_object
from oneoff.database.errors import is_connection_loss
from oneoff.database.tables import outbox
from oneoff.runtime.container import parameters
from oneoff.services.outbox.effects import PAUSES, TIMEOUT, Effect, Handler, Transaction
from oneoff.utils.concurrency import uninterrupted
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

OWN = frozenset({"effect", "session"})
"""What a handler gets from the delivery itself."""
_LONGEST_ERROR = 500
_CLAIM = timedelta(seconds=2 * TIMEOUT)
"""How long an effect is claimed: longer than its handler may take."""


@dataclass(slots=True)
class Delivered:
    """What a delivery came to.

    Attributes:
        done: Effects that were delivered, by kind.
        failed: Effects that failed and are tried again by the next delivery, by kind.
        given_up: Effects that failed for the last time, by kind.
        bounded: It stopped because it might not go on, with effects left perhaps.
        unhandled: Effects that wait for a kind that has no handler, by kind.
    """

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    bounded: bool = False
    unhandled: dict[str, int] = field(default_factory=dict)

    def by_kind(self) -> list[dict[str, Any]]:
        """Return the numbers for a table."""
        kinds = sorted({*self.done, *self.failed, *self.given_up, *self.unhandled})
        return [
            {
                "kind": kind,
                "delivered": self.done[kind],
                "failed": self.failed[kind],
                "given_up": self.given_up[kind],
                "no_handler": self.unhandled.get(kind, 0),
            }
            for kind in kinds
        ]


async def deliver_effects(
    transaction: Transaction,
    handlers: Mapping[str, Handler],
    *,
    given: Mapping[str, Any] | None = None,
    max_rows: int = 0,
    max_seconds: float = 0.0,
    given_up: bool = False,
) -> Delivered:
    """Deliver what waits, each effect in a transaction of its own; what `outbox deliver` does.

    Several may run at once, on any number of machines: an effect at work is passed over.

    Args:
        transaction: Opens one.
        handlers: Kind to what does it.
        given: What handlers may ask for by name, besides `effect` and `session`.
        max_rows: Stop after so many effects; 0 for all.
        max_seconds: Begin no other effect after so long; 0 for no limit.
        given_up: Try those again too that were given up.
    """
    delivery = Delivery(transaction, handlers, given or {}, given_up=given_up)
    return await delivery.run(max_rows=max_rows, max_seconds=max_seconds)


class Delivery:
    """One pass over what waits; each effect is tried once in it."""

    def __init__(
        self,
        transaction: Transaction,
        handlers: Mapping[str, Handler],
        given: Mapping[str, Any],
        *,
        given_up: bool,
    ) -> None:
        self._transaction, self._handlers, self._given = transaction, handlers, given
        self._waiting = waiting(given_up=given_up)
        self._last = 0
        self._down: set[str] = set()
        self._redactor = Redactor()
        self.result = Delivered()

    async def run(self, *, max_rows: int, max_seconds: float) -> Delivered:
        """Deliver until nothing is left that was not tried, or a bound is reached."""
        started, tried = monotonic(), 0
        while effect := await self._next():
            await self._one(effect)
            tried += 1
            late = max_seconds and monotonic() - started >= max_seconds
            if late or (max_rows and tried >= max_rows):
                self.result.bounded = await self._is_left()
                break
        async with self._transaction() as session:
            self.result.unhandled = await _unhandled(session, self._handlers)
        return self.result

    async def _one(self, effect: Effect) -> None:
        try:
            async with self._transaction() as session:
                if not await _hold(session, effect):
                    return  # another delivery has it
                async with asyncio.timeout(TIMEOUT):
                    await self._handle(effect, session)
                done = {"delivered_at": datetime.now(UTC), "error": "", "claimed_until": None}
                await session.execute(_of(effect).values(done))
        except asyncio.CancelledError:
            # Whoever stops the run says nothing of the effect, which is not given up for it.
            with suppress(SQLAlchemyError, OSError):
                await uninterrupted(self._write(effect, attempts=outbox.c.attempts - 1))
            raise
        except Exception as exc:
            if isinstance(exc, SQLAlchemyError) and is_connection_loss(exc):
                raise
            await self._failed(effect, exc)
        else:
            self.result.done[effect.kind] += 1

    async def _next(self) -> Effect | None:
        """Count the attempt at the effect that follows, and return it."""
        kinds = self._handlers.keys() - self._down
        free = select(outbox).where(self._waiting, *self._ahead(kinds)).order_by(outbox.c.id)
        async with self._transaction() as session:
            found = await session.execute(free.limit(1).with_for_update(skip_locked=True))
            row = found.mappings().one_or_none()
            if row is None:
                return None
            self._last, attempt = row["id"], row["attempts"] + 1
            effect = Effect(
                id=row["id"], kind=row["kind"], payload=json.loads(row["payload"]), attempt=attempt
            )
            claimed = {"attempts": attempt, "claimed_until": datetime.now(UTC) + _CLAIM}
            await session.execute(_of(effect).values(claimed))
        return effect

    def _ahead(self, kinds: set[str]) -> list[ColumnElement[bool]]:
        return [outbox.c.id > self._last, outbox.c.kind.in_(sorted(kinds))]

    async def _handle(self, effect: Effect, session: AsyncSession) -> None:
        handler = self._handlers[effect.kind]
        ready = {**self._given, "effect": effect, "session": session}
        await handler(**{name: ready[name] for name in parameters(handler)})
        await session.flush()

    async def _failed(self, effect: Effect, exc: Exception) -> None:
        """Write down why; what a service that is down leaves undone is no attempt."""
        attempt, values = effect.attempt, {}
        if isinstance(exc, Unavailable):
            self._down.add(effect.kind)
            attempt -= 1
            values = {"attempts": outbox.c.attempts - 1}
        await self._write(effect, error=self._redactor.text(_said(exc))[:_LONGEST_ERROR], **values)
        count = self.result.given_up if attempt >= len(PAUSES) else self.result.failed
        count[effect.kind] += 1

    async def _write(self, effect: Effect, **values: Any) -> None:
        """Write what became of it, and let go of it; another delivery may have it meanwhile."""
        mine = _of(effect).where(*_still_mine(effect))
        async with self._transaction() as session:
            await session.execute(mine.values(**values, claimed_until=None))

    async def _is_left(self) -> bool:
        kinds = self._handlers.keys() - self._down
        left = select(outbox.c.id).where(self._waiting, *self._ahead(kinds)).limit(1)
        async with self._transaction() as session:
            return await session.scalar(left) is not None


def load_handlers(project: Project) -> Mapping[str, Handler]:
    """Return the project's handlers, by kind.

    Raises:
        ConfigurationError: It has none.
    """
    if not project.outbox:
        raise ConfigurationError(
            f"the project {project.name!r} has no handlers for its outbox",
            try_='name them: Project(..., outbox="app.outbox:HANDLERS"), a mapping of kinds to '
            "async functions",
            code="no-outbox",
        )
    handlers: Mapping[str, Handler] = load_object(project.outbox)
    return handlers


def resources_of(handlers: Mapping[str, Handler]) -> list[str]:
    """Return the names of what handlers ask the project for."""
    return sorted({name for one in handlers.values() for name in parameters(one)} - OWN)


def waiting(*, given_up: bool = False) -> ColumnElement[bool]:
    """Return the condition for what is to be delivered now; with what was given up: for all.

    What another delivery has in hand is not.
    """
    now = datetime.now(UTC)
    free = outbox.c.claimed_until.is_(None) | (outbox.c.claimed_until <= now)
    undelivered = outbox.c.delivered_at.is_(None) & free
    if given_up:
        return undelivered
    due = [
        (outbox.c.attempts == attempts) & (outbox.c.created_at <= now - timedelta(seconds=pause))
        for attempts, pause in enumerate(PAUSES)
    ]
    return undelivered & or_(*due)


async def plan(
    session: AsyncSession, handlers: Mapping[str, Handler], *, given_up: bool
) -> list[dict[str, Any]]:
    """Count what a delivery would try, by kind."""
    counting = select(outbox.c.kind, func.count()).where(waiting(given_up=given_up))
    found = await session.execute(counting.group_by(outbox.c.kind).order_by(outbox.c.kind))
    return [{"kind": kind, "waiting": n, "has_handler": kind in handlers} for kind, n in found]


async def listing(session: AsyncSession, *, state: str, limit: int) -> list[dict[str, Any]]:
    """Return effects, those that were put down first; a payload may be personal, and is left out.

    Args:
        session: Reads.
        state: "waiting", "given-up", "delivered", or empty for all that is undelivered.
        limit: How many at most.
    """
    states = case(
        (outbox.c.delivered_at.is_not(None), "delivered"),
        (outbox.c.attempts >= len(PAUSES), "given-up"),
        else_="waiting",
    )
    wanted = states == state if state else outbox.c.delivered_at.is_(None)
    rows = select(outbox, states.label("state")).where(wanted).order_by(outbox.c.id).limit(limit)
    names = ("id", "kind", "state", "attempts", "created_at", "delivered_at", "batch_id", "error")
    found = await session.execute(rows)
    return [{name: row[name] for name in names} for row in found.mappings()]


async def _unhandled(session: AsyncSession, handlers: Mapping[str, Handler]) -> dict[str, int]:
    planned = await plan(session, handlers, given_up=False)
    return {one["kind"]: one["waiting"] for one in planned if not one["has_handler"]}


async def _hold(session: AsyncSession, effect: Effect) -> bool:
    """Lock the row until the end of the transaction; on SQLite that is the whole database."""
    mine = select(outbox.c.id).where(outbox.c.id == effect.id, *_still_mine(effect))
    return await session.scalar(mine.with_for_update(skip_locked=True)) is not None


def _still_mine(effect: Effect) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for an effect that nobody has done, or claimed since."""
    return (outbox.c.delivered_at.is_(None), outbox.c.attempts == effect.attempt)


def _of(effect: Effect) -> Any:
    return update(outbox).where(outbox.c.id == effect.id)


def _said(exc: Exception) -> str:
    if isinstance(exc, CommandError):
        return f"{exc.code}: {exc.message}"
    return f"took longer than {TIMEOUT:g} s" if isinstance(exc, TimeoutError) else repr(exc)
