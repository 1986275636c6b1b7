"""Lead what the application and its libraries log on their own through the redacting terminal.

That is the root logger of `logging` (asyncio's complaints end there too), structlog's own
loggers, warnings, and exceptions that threads and finalizers could not raise to anybody.
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

if TYPE_CHECKING:
    from oneoff.logs import Logs
    from oneoff.run import Run

_active: list[tuple[Logs, Run | None]] = []
"""The runs under way, nested ones last. The first installs the hooks, the last takes them away."""
_hooks = ExitStack()


@contextmanager
def capturing(logs: Logs, run: Run | None) -> Iterator[None]:
    """Redirect while the block runs; in a test, the next one finds everything as it was."""
    if not _active:
        _install(_hooks)
    entry = (logs, run)
    _active.append(entry)
    try:
        if "structlog" in sys.modules:
            _adopt_structlog(logs)
        yield
    finally:
        _active.remove(entry)
        if not _active:
            _hooks.close()


def masked(text: str) -> str:
    """Mask what any run under way knows to be secret: a nested one knows less than its caller."""
    for logs, _ in _active:
        text = logs.masked(text)
    return text


def _install(undo: ExitStack) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    undo.callback(lambda: root.handlers.__setitem__(slice(None), before))
    # The application's own handlers would print beside our one JSON object, and in clear.
    root.handlers[:] = [handler for handler in before if not _prints(handler)]
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


def _adopt_structlog(logs: Logs) -> None:
    import structlog

    if not structlog.is_configured():
        _hooks.callback(structlog.reset_defaults)
    else:
        _hooks.callback(structlog.configure, **structlog.get_config())
    structlog.configure(**logs.structlog_settings(), cache_logger_on_first_use=False)


class _Handler(logging.Handler):
    """Writes the records of `logging`, as lines like structlog's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the terminal of the innermost run."""
        logs, run = _active[-1]
        if not logs.writes_number(record.levelno):
            return
        try:
            logs.write(masked(_line(record, run, readable=logs.readable)))
        except Exception:  # noqa: BLE001 - a log line that can't be formatted must not end a run
            logs.write(f"a line of the logger {record.name} could not be formatted\n")


def _line(record: logging.LogRecord, run: Run | None, *, readable: bool) -> str:
    message = masked(record.getMessage())
    trace = masked(logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
    level = record.levelname.lower()
    if readable:
        return f"{record.name}: {level}: {message}\n" + (f"{trace}\n" if trace else "")
    fields = {"run_id": run.id, "command": run.command} if run else {}
    fields |= {"event": message, "logger": record.name, "level": level}
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
