"""Configure the logs of a long-running process (web, worker) in the format of commands.

Servers configure `logging` themselves, before or after they import the application. This module
replaces their configuration: each message of the server, the application and libraries becomes one
structured line on standard error.
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
from oneoff.core.project import Project
from oneoff.integrations.error_events import report_errors
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
"""For the option `--custom-log-dict` of `arq`. It also configures the first lines of the worker."""

_undo = ExitStack()
_services: list[str] = []
"""The service name in this process's logs; empty until they are configured."""


def configure_logging(service: str, config: Config | None = None) -> None:
    """Configure the logs of this process. A second call has no effect.

    Lines are text on a terminal and in CI, and JSON otherwise, unless LOG_FORMAT says text or json.
    LOG_LEVEL is the lowest level. Each line has a UTC timestamp and the variables of
    `structlog.contextvars`, such as request id and job id. The listeners of plug-ins are told about
    each exception that is logged at level error.

    Args:
        service: Name of the process, on every line: "web", "worker".
        config: Settings of the process; read from the current folder by default.
    """
    if not _services:
        config = config or load_config(Path.cwd(), Project("process"))
        terminal, redactor = (
            Terminal(None, None, sys.stderr, config.environ),
            Redactor(config.environ),
        )
        logs = Logs(terminal, redactor, config.log_level, service=service, form=config.log_format)
        _install(logs)
        report_errors(logs, config, redactor)


@contextmanager
def logging_to(logs: Logs) -> Iterator[None]:
    """Configure the logs inside the block, then restore the old configuration; for tests."""
    _install(logs)
    try:
        yield
    finally:
        _undo.close()


def configuring_handler(service: str) -> logging.Handler:
    """Configure the logs, and return a handler that does nothing. WORKER_LOGGING names this."""
    configure_logging(service)
    return logging.NullHandler()


def _install(logs: Logs) -> None:
    # Each change registers its reverse. `_undo` runs them in reverse order, in `logging_to`.
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
    logging.setLogRecordFactory(_record_factory(factory))
    _silence_access_log()
    # Health checks load Alembic, which logs its plugins and every comparison at level info.
    alembic = logging.getLogger("alembic")
    _undo.callback(alembic.setLevel, alembic.level)
    alembic.setLevel(max(alembic.level, logging.WARNING))


def _record_factory(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a log record factory that takes over a logger before its record reaches a handler."""
    # A server may configure its loggers at any time; arq does so after importing the application.
    # Only the record factory sees every record before a handler prints it.

    def make(name: str, *args: Any, **values: Any) -> logging.LogRecord:
        _take_over(logging.getLogger(name))
        return _without_arguments(factory(name, *args, **values))

    return make


def _without_arguments(record: logging.LogRecord) -> logging.LogRecord:
    """Remove a job's arguments from ARQ's line: ARQ cuts them, so secrets can't be recognised."""
    if record.name == "arq.worker" and "→ %s(%s)" in str(record.msg):
        given = record.args
        if isinstance(given, tuple):
            record.args = (*given[:2], "…", *given[3:])
    return record


def _take_over(logger: logging.Logger) -> None:
    """Remove the printing handlers of a logger and its parents; make it propagate to the root."""
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        quiet = without_printing(current.handlers)
        if len(quiet) != len(current.handlers):
            current.handlers[:] = quiet
            current.propagate = True
        current = current.parent


def _silence_access_log() -> None:
    """Turn off uvicorn's access log, which contains the query string and no request id.

    `oneoff.integrations.asgi.request_id` logs one event for each request instead.
    """
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _report_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log = structlog.get_logger()
    if isinstance(error, CommandError):  # the message is enough without a traceback
        tries = {"try": list(error.try_)} if error.try_ else {}
        log.critical("process.ended", error=error.code, message=error.message, **tries)
    elif not issubclass(kind, KeyboardInterrupt):
        log.critical("process.crashed", exc_info=(kind, error, trace))
