"""`tally add`: do every row once, and kill the own process if a variable says so."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Select, event, select
from sqlalchemy.engine import Engine

from oneoff import BatchCommand, Option
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Add(BatchCommand):
    """Do every row once."""

    examples = ("tally add --confirm",)
    batch_size = int(os.environ.get("TALLY_BATCH", "100"))
    largest_batch = 2 * batch_size
    batch_seconds = 1.0
    batch_timeout = float(os.environ.get("TALLY_TIMEOUT", "60"))
    reconnect_seconds = float(os.environ.get("TALLY_RECONNECT", "60"))

    slow: float = Option(default=0.0, help="Seconds a batch takes longer.")
    name: str = Option(default="", help="Makes it another batch.")

    def select(self) -> Select[Tally]:
        """Return all rows, also those that are done: only the checkpoint excludes them."""
        return select(Tally)

    async def process(self, session: AsyncSession, batch: Sequence[Tally]) -> int:
        """Count each row once."""
        for row in batch:
            row.n += 1
        if _is_braked():
            await asyncio.sleep(self.slow)
        return len(batch)


def _is_braked() -> bool:
    """Return whether batches are slow: if a file is named, only while it exists."""
    brake = os.environ.get("TALLY_BRAKE")
    return not brake or Path(brake).exists()


def _die_at_commit(commits: int, seconds: float) -> None:
    """Kill this process near a commit.

    Args:
        commits: Number of commits before it.
        seconds: Time from the start of the next commit to the kill.
    """
    seen = 0

    def die(_connection: object) -> None:
        nonlocal seen
        seen += 1
        if seen <= commits:
            return
        if not seconds:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    event.listen(Engine, "commit", die)


if "TALLY_DIE" in os.environ:
    _commits, _, _seconds = os.environ["TALLY_DIE"].partition(":")
    _die_at_commit(int(_commits), float(_seconds))
