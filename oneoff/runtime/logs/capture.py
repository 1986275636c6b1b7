"""Redirect the logs of the application and its libraries to the redacting terminal.

Redirected are the root logger of `logging` (which asyncio uses too), structlog's own loggers,
warnings, and exceptions in threads and finalizers, which have no caller to raise them to.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oneoff.runtime.logs.loggers import active, masked, structlog_context

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.runtime.logs.loggers import Capture, Logs

_hooks = ExitStack()
_structlog_before: list[dict[str, Any]] = []
"""The application's configuration of structlog while ours replaces it: one item, which is empty if
the application had not configured it. No item: structlog is not replaced."""


@contextmanager
def capturing(logs: Logs, run: Run | None = None) -> Iterator[None]:
    """Redirect logs while the block runs, and restore everything afterwards.

    structlog is reconfigured if it has been imported by then.
    """
    capture = enter(logs, run)
    try:
        yield
    finally:
        leave(capture)


def enter(logs: Logs, run: Run | None) -> Capture:
    """Redirect logs until `leave` is called; a process that serves requests never calls it."""
    if not active:
        _install(_hooks)
    capture = (logs, run)
    active.append(capture)
    _adopt_structlog()
    return capture


def leave(capture: Capture) -> None:
    """End the redirection that `enter` started."""
    active.remove(capture)
    if active:
        _adopt_structlog()
    else:
        _hooks.close()


def without_printing(handlers: list[logging.Handler]) -> list[logging.Handler]:
    """Return the handlers that don't write to the process's own streams.

    The others would print each line a second time, and with its secrets.
    """
    return [handler for handler in handlers if not _prints(handler)]


def _install(undo: ExitStack) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    undo.callback(lambda: root.handlers.__setitem__(slice(None), before))
    root.handlers[:] = without_printing(before)
    root.addHandler(_Handler())
    for owner, name, hook in (
        (warnings, "showwarning", _show_warning),
        (threading, "excepthook", _report_thread),
        (sys, "unraisablehook", _report_unraisable),
    ):
        undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, hook)


def _prints(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return getattr(handler, "stream", None) in streams


def _adopt_structlog() -> None:
    """Configure structlog for the innermost run, or for the process if that is a service."""
    if "structlog" not in sys.modules:
        return
    import structlog

    if not _structlog_before:
        _structlog_before.append(structlog.get_config() if structlog.is_configured() else {})
        _hooks.callback(_restore_structlog)
    # A service captures the logs of its process first. That configuration serves its runs too.
    logs, run = active[0] if active[0][0].service else active[-1]
    structlog.configure(**logs.structlog_settings(run), cache_logger_on_first_use=False)


def _restore_structlog() -> None:
    import structlog

    structlog.reset_defaults()
    before = _structlog_before.pop()
    if before:
        structlog.configure(**before)


class _Handler(logging.Handler):
    """Writes the records of `logging`, as lines like structlog's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the terminal of the innermost run, if its level is written."""
        logs, run = active[-1]
        if not logs.writes_number(record.levelno):
            return
        try:
            if run is None and logs.service:
                _tell(logs, record)
                logs.relay(record.levelname.lower(), _event(record))
            else:
                logs.write(masked(_line(record, run, readable=logs.readable)))
        except Exception:  # noqa: BLE001 - a log line that can't be formatted must not end a run
            logs.write(f"a line of the logger {record.name} could not be formatted\n")


def _tell(logs: Logs, record: logging.LogRecord) -> None:
    """Report the exception of a line of an application, of its server, or of a thread."""
    error = record.exc_info[1] if record.exc_info else None
    if logs.on_error and error and record.levelno >= logging.ERROR:
        context = structlog_context()
        logs.on_error(record.getMessage(), error, context | {"logger": record.name})


def _event(record: logging.LogRecord) -> dict[str, Any]:
    # Don't show the local variables of the frames: they may hold secrets and data.
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    event = {"event": masked(record.getMessage()), "logger": record.name}
    return event | ({"exception": masked(trace)} if trace else {})


def _line(record: logging.LogRecord, run: Run | None, *, readable: bool) -> str:
    event = _event(record)
    level, trace = record.levelname.lower(), event.pop("exception", "")
    if readable:
        return f"{record.name}: {level}: {event['event']}\n" + (f"{trace}\n" if trace else "")
    fields = {"run_id": run.id, "command": run.command} if run else {}
    fields |= event | {"level": level}
    fields["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat()
    return json.dumps(fields | ({"exception": trace} if trace else {}), ensure_ascii=False) + "\n"


def _show_warning(  # noqa: PLR0917 - the signature of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    logging.getLogger("py.warnings").warning("%s", text.rstrip())


def _report_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread else "a thread"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("threading").error("exception in %s", name, exc_info=info)


def _report_unraisable(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is None:
        return
    what = args.err_msg or "exception ignored in"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("python").error("%s: %r", what, args.object, exc_info=info)
