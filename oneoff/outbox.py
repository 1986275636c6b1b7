"""Effects outside the database, which a batch leaves in the transaction that does its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def put(session: AsyncSession, kind: str, payload: Mapping[str, Any]) -> None:
    """Put an effect down: it is there exactly if the batch's rows are.

    It is delivered later, and at least once: a crash between the delivery and its record delivers
    it again, so what receives it must bear that.

    Args:
        session: The one that `process` got.
        kind: What to do, for whoever delivers: "mail.welcome".
        payload: What it needs, as JSON knows it; secrets don't belong here.
    """
    import json
    from datetime import UTC, datetime

    from sqlalchemy import insert

    from oneoff.batching.attempt import current_batch
    from oneoff.schema.tables import outbox

    row = {
        "batch_id": current_batch.get(),
        "kind": kind,
        "payload": json.dumps(payload, ensure_ascii=False),
        "created_at": datetime.now(UTC),
    }
    await session.execute(insert(outbox).values(row))
