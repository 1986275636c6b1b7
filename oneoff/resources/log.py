"""The structured logger of a run, as the resource `log`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.core.run import Run
from oneoff.logs import Logs

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


@asynccontextmanager
async def open_log(logs: Logs, run: Run) -> AsyncIterator[FilteringBoundLogger]:
    """Give a logger that puts the run's id on every line."""
    yield logs.logger(run)
