"""Deliver the effects of the outbox. Read `Delivery._deliver_one` from top to bottom.

An attempt is counted and committed before it starts. So an effect that kills its process is also
given up after its last attempt. The same commit claims the effect for a limited time: other
deliveries skip it until then, and after a crash it is free again. While the handler runs, the row
is also locked, because the clocks of two machines may differ by more than the claim lasts.
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

OF_DELIVERY = frozenset({"effect", "session"})
"""Names of parameters that the delivery provides, not the project."""
_MAX_ERROR = 500  # characters of an error that are stored
_CLAIM = timedelta(seconds=2 * TIMEOUT)
"""Duration of a claim; longer than a handler may take."""


@dataclass(slots=True)
class Delivered:
    """The outcome of a delivery.

    Attributes:
        done: Effects that were delivered, by kind.
        failed: Effects that failed and will be tried again by a later delivery, by kind.
        given_up: Effects that failed at their last attempt, by kind.
        bounded: Whether a bound stopped the delivery before all effects were tried.
        unhandled: Waiting effects without a handler for their kind, by kind.
    """

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    bounded: bool = False
    unhandled: dict[str, int] = field(default_factory=dict)

    def by_kind(self) -> list[dict[str, Any]]:
        """Return the counts as rows of a table."""
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
    """Deliver the effects that are due, each in its own transaction, as `outbox deliver` does.

    Several deliveries may run at the same time, on any number of machines: each skips the effects
    that another one has claimed.

    Args:
        transaction: Opens a transaction.
        handlers: The handler of each kind.
        given: Objects that handlers may request by name, besides `effect` and `session`.
        max_rows: Stop after this many effects; 0 for all.
        max_seconds: Start no further effect after this many seconds; 0 for no limit.
        given_up: Whether to also try effects that were given up, or are not due yet.
    """
    delivery = Delivery(transaction, handlers, given or {}, given_up=given_up)
    return await delivery.run(max_rows=max_rows, max_seconds=max_seconds)


class Delivery:
    """One pass over the effects that are due; each is tried once."""

    def __init__(
        self,
        transaction: Transaction,
        handlers: Mapping[str, Handler],
        given: Mapping[str, Any],
        *,
        given_up: bool,
    ) -> None:
        self._transaction, self._handlers, self._given = transaction, handlers, given
        self._condition = deliverable(given_up=given_up)
        self._last = 0
        self._down: set[str] = set()
        self._redactor = Redactor()
        self.result = Delivered()

    async def run(self, *, max_rows: int, max_seconds: float) -> Delivered:
        """Deliver until every effect was tried, or a bound is reached."""
        started, tried = monotonic(), 0
        while effect := await self._claim_next():
            await self._deliver_one(effect)
            tried += 1
            late = max_seconds and monotonic() - started >= max_seconds
            if late or (max_rows and tried >= max_rows):
                self.result.bounded = await self._has_more()
                break
        async with self._transaction() as session:
            self.result.unhandled = await _unhandled(session, self._handlers)
        return self.result

    async def _deliver_one(self, effect: Effect) -> None:
        try:
            async with self._transaction() as session:
                if not await _lock(session, effect):
                    return  # the claim has expired, and another delivery has the effect
                async with asyncio.timeout(TIMEOUT):
                    await self._handle(effect, session)
                # In the transaction of the handler: its writes and the mark are committed together.
                done = {"delivered_at": datetime.now(UTC), "error": "", "claimed_until": None}
                await session.execute(_update_of(effect).values(done))
        except asyncio.CancelledError:
            # The run was stopped, so the effect did not fail: the attempt does not count.
            with suppress(SQLAlchemyError, OSError):
                await uninterrupted(self._write(effect, attempts=outbox.c.attempts - 1))
            raise
        except Exception as exc:
            if isinstance(exc, SQLAlchemyError) and is_connection_loss(exc):
                raise  # the failure can't be stored now; the claim expires by itself
            await self._failed(effect, exc)
        else:
            self.result.done[effect.kind] += 1

    async def _claim_next(self) -> Effect | None:
        """Claim the next effect and count the attempt; return None if there is none."""
        kinds = self._handlers.keys() - self._down
        free = select(outbox).where(self._condition, *self._remaining(kinds)).order_by(outbox.c.id)
        # SKIP LOCKED skips a row that another delivery is claiming now, or whose handler is
        # running. Without it, this delivery would wait for the other one.
        async with self._transaction() as session:
            found = await session.execute(free.limit(1).with_for_update(skip_locked=True))
            row = found.mappings().one_or_none()
            if row is None:
                return None
            self._last, attempt = row["id"], row["attempts"] + 1
            effect = Effect(
                id=row["id"], kind=row["kind"], payload=json.loads(row["payload"]), attempt=attempt
            )
            # Committed before the handler starts, so an effect that kills its process has used up
            # an attempt.
            claimed = {"attempts": attempt, "claimed_until": datetime.now(UTC) + _CLAIM}
            await session.execute(_update_of(effect).values(claimed))
        return effect

    def _remaining(self, kinds: set[str]) -> list[ColumnElement[bool]]:
        # A delivery tries effects in the order of their ids, and each only once.
        return [outbox.c.id > self._last, outbox.c.kind.in_(sorted(kinds))]

    async def _handle(self, effect: Effect, session: AsyncSession) -> None:
        handler = self._handlers[effect.kind]
        ready = {**self._given, "effect": effect, "session": session}
        await handler(**{name: ready[name] for name in parameters(handler)})
        await session.flush()

    async def _failed(self, effect: Effect, exc: Exception) -> None:
        """Store the error. If the service was down, the attempt does not count."""
        attempt, values = effect.attempt, {}
        if isinstance(exc, Unavailable):
            self._down.add(effect.kind)
            attempt -= 1
            values = {"attempts": outbox.c.attempts - 1}
        await self._write(effect, error=self._redactor.text(_describe(exc))[:_MAX_ERROR], **values)
        count = self.result.given_up if attempt >= len(PAUSES) else self.result.failed
        count[effect.kind] += 1

    async def _write(self, effect: Effect, **values: Any) -> None:
        """Store the outcome and end the claim, unless another delivery has claimed the effect."""
        mine = _update_of(effect).where(*_same_claim(effect))
        async with self._transaction() as session:
            await session.execute(mine.values(**values, claimed_until=None))

    async def _has_more(self) -> bool:
        kinds = self._handlers.keys() - self._down
        left = select(outbox.c.id).where(self._condition, *self._remaining(kinds)).limit(1)
        async with self._transaction() as session:
            return await session.scalar(left) is not None


def load_handlers(project: Project) -> Mapping[str, Handler]:
    """Return the project's handlers, by kind.

    Raises:
        ConfigurationError: The project has none.
    """
    if not project.outbox:
        raise ConfigurationError(
            f"the project {project.name!r} has no handlers for its outbox",
            try_='declare them: Project(..., outbox="app.outbox:HANDLERS"), a mapping of kinds to '
            "async functions",
            code="no-outbox",
        )
    handlers: Mapping[str, Handler] = load_object(project.outbox)
    return handlers


def resources_of(handlers: Mapping[str, Handler]) -> list[str]:
    """Return the names of the project's resources that handlers request."""
    return sorted({name for one in handlers.values() for name in parameters(one)} - OF_DELIVERY)


def deliverable(*, given_up: bool = False) -> ColumnElement[bool]:
    """Return the condition for effects to deliver now.

    These effects are not claimed, and the pause before their next attempt is over. `PAUSES` has a
    pause for each number of attempts, counted from when the effect was stored. After the last
    attempt no pause matches. With `given_up`, pauses and attempts are ignored.
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
    """Count the effects that a delivery would try, by kind."""
    counting = select(outbox.c.kind, func.count()).where(deliverable(given_up=given_up))
    found = await session.execute(counting.group_by(outbox.c.kind).order_by(outbox.c.kind))
    return [{"kind": kind, "waiting": n, "has_handler": kind in handlers} for kind, n in found]


async def list_effects(session: AsyncSession, *, state: str, limit: int) -> list[dict[str, Any]]:
    """Return effects, the oldest first, without their payload, which may contain personal data.

    Args:
        session: For reading.
        state: "waiting", "given-up", "delivered", or empty for all undelivered effects.
        limit: The highest number of effects.
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


async def _lock(session: AsyncSession, effect: Effect) -> bool:
    """Lock the row until the transaction ends; return False if the claim is lost.

    SQLite has no row locks, but its transaction excludes every other writer.
    """
    mine = select(outbox.c.id).where(outbox.c.id == effect.id, *_same_claim(effect))
    return await session.scalar(mine.with_for_update(skip_locked=True)) is not None


def _same_claim(effect: Effect) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that no other delivery has claimed the effect since this claim."""
    # Each claim counts an attempt, so the number of attempts identifies the claim.
    return (outbox.c.delivered_at.is_(None), outbox.c.attempts == effect.attempt)


def _update_of(effect: Effect) -> Any:
    return update(outbox).where(outbox.c.id == effect.id)


def _describe(exc: Exception) -> str:
    if isinstance(exc, CommandError):
        return f"{exc.code}: {exc.message}"
    return f"took longer than {TIMEOUT:g} s" if isinstance(exc, TimeoutError) else repr(exc)
