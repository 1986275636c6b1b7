"""The logs of a process that runs on: web, worker. The same lines as those of commands.

Servers configure `logging` for themselves, before or after the application is imported; here
whatever they, the application and its libraries log becomes one structured line on standard error.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from oneoff.config.settings import Config, load_config
from oneoff.core.errors import CommandError
from oneoff.runtime.logs.capture import enter, leave, without_printing
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor

WORKER_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "process": {
            "()": "oneoff.integrations.process_logs.configuring_handler",
            "service": "worker",
        }
    },
    "loggers": {"arq": {"handlers": ["process"]}},
}
"""For the option `--custom-log-dict` of `arq`: it configures the worker's first lines too."""

_undo = ExitStack()
_services: list[str] = []
"""The one this process logs as; empty before it is configured."""


def configure_logging(service: str, config: Config | None = None) -> None:
    """Log as this service from now on; the second call changes nothing.

    JSON off a terminal, readable on one, from LOG_LEVEL on, with UTC timestamps and everything
    that is bound in `structlog.contextvars`: request id, job id.

    Args:
        service: Name of the process, on every line: "web", "worker".
        config: The process's settings; read from the current folder when left out.
    """
    if not _services:
        config = config or load_config(Path.cwd())
        terminal = Terminal(None, None, sys.stderr, config.environ)
        _install(Logs(terminal, Redactor(config.environ), config.log_level, service=service))


@contextmanager
def logging_to(logs: Logs) -> Iterator[None]:
    """Log so while the block runs, and find everything as it was after it: for tests."""
    _install(logs)
    try:
        yield
    finally:
        _undo.close()


def configuring_handler(service: str) -> logging.Handler:
    """Configure this process's logs where a server takes a dictionary for `logging.config`."""
    configure_logging(service)
    return logging.NullHandler()


def _install(logs: Logs) -> None:
    _services.append(logs.service)
    _undo.callback(_services.clear)
    _undo.callback(leave, enter(logs, None))
    root = logging.getLogger()
    _undo.callback(root.setLevel, root.level)
    root.setLevel(logs.lowest)
    _undo.callback(setattr, sys, "excepthook", sys.excepthook)
    sys.excepthook = _report_crash
    factory = logging.getLogRecordFactory()
    _undo.callback(logging.setLogRecordFactory, factory)
    logging.setLogRecordFactory(_taking_over(factory))
    _silence_access_log()
    # Health checks load Alembic, which at `info` tells of its plugins and of each look.
    alembic = logging.getLogger("alembic")
    _undo.callback(alembic.setLevel, alembic.level)
    alembic.setLevel(max(alembic.level, logging.WARNING))


def _taking_over(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a factory that leads a logger to us before its record reaches any handler.

    A server may configure its loggers at any time, arq after the application is imported; this is
    the one place that all records pass before they are printed.
    """

    def make(name: str, *args: Any, **values: Any) -> logging.LogRecord:
        _take_over(logging.getLogger(name))
        return _without_arguments(factory(name, *args, **values))

    return make


def _without_arguments(record: logging.LogRecord) -> logging.LogRecord:
    """Take a job's arguments out of ARQ's line: cut short, no mask could recognise a secret."""
    if record.name == "arq.worker" and "→ %s(%s)" in str(record.msg):
        given = record.args
        if isinstance(given, tuple):
            record.args = (*given[:2], "…", *given[3:])
    return record


def _take_over(logger: logging.Logger) -> None:
    """Remove the printing handlers from a logger up to the root, and let it lead there."""
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        quiet = without_printing(current.handlers)
        if len(quiet) != len(current.handlers):
            current.handlers[:] = quiet
            current.propagate = True
        current = current.parent


def _silence_access_log() -> None:
    """Stop uvicorn's lines for requests: they hold the query, and no request id.

    `oneoff.integrations.asgi.request_id` writes one event for each request instead.
    """
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _report_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log = structlog.get_logger()
    if isinstance(error, CommandError):  # it says what is wrong; where it was found helps nobody
        tries = {"try": list(error.try_)} if error.try_ else {}
        log.critical("process.ended", error=error.code, message=error.message, **tries)
    elif not issubclass(kind, KeyboardInterrupt):
        log.critical("process.crashed", exc_info=(kind, error, trace))
