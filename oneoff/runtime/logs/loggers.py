"""Write structured logs to standard error, with the run id on every line.

Lines are text on a terminal and in CI, and JSON elsewhere; LOG_FORMAT overrides this. Importing
structlog takes as long as all of asyncio, and twice as long where rich is installed, so it is
imported only when a command asks for `log`, or for a line of text. See
`oneoff.runtime.logs.capture` for the logs of the application and its libraries, and
`oneoff.integrations.process_logs` for long-running processes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from oneoff.config.settings import Config
    from oneoff.core.options import GlobalOptions
    from oneoff.core.outcome import Outcome
    from oneoff.core.run import Run
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

    Event = MutableMapping[str, Any]
    Capture = tuple["Logs", Run | None]

active: list[Capture] = []
"""The active runs, nested ones last. The first one installs the hooks, the last one removes
them."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}  # as `logging` numbers them


def level_of(config: Config, options: GlobalOptions, terminal: Terminal) -> str:
    """Return the lowest level that is written.

    On a terminal, the operator reads the result, and -v adds the log of successful steps. Elsewhere
    LOG_LEVEL decides, because only the log is kept.
    """
    if options.quiet:
        return "error"
    if options.debug or options.verbose > 1:
        return "debug"
    if options.verbose:
        return "info"
    if config.log_format == "json" or not terminal.is_watched or config.source("LOG_LEVEL"):
        return config.log_level
    return "warning"


class Logs:
    """Makes the loggers of one process.

    Args:
        terminal: Writes the lines.
        redactor: Masks the secrets that it knows.
        level: The lowest level that is written: "info".
        service: Name of a long-running process, for every line: "web", "worker".
        form: LOG_FORMAT. A service writes its log with "none" too: it has no other output.

    Attributes:
        service: As given; empty for a run.
        level: As given.
        readable: Whether lines are text for a person rather than JSON for a program.
        on_error: Called for each line that reports an exception at level error, outside of a run:
            with its message, the exception, and the variables that are bound to the line.
    """

    def __init__(
        self,
        terminal: Terminal,
        redactor: Redactor,
        level: str,
        *,
        service: str = "",
        form: str = "auto",
    ) -> None:
        self._terminal = terminal
        self._redactor = redactor
        self.service = service
        self.level = level
        is_for_person = terminal.is_watched or terminal.in_ci
        self.readable = is_for_person if form in {"auto", "none"} else form == "text"
        self._is_off = form == "none" and not service
        self.on_error: Callable[[str, BaseException, Mapping[str, Any]], object] | None = None

    @property
    def lowest(self) -> int:
        """The lowest level that is written, as `logging` numbers it."""
        return _LEVELS[self.level]

    def writes(self, level: str) -> bool:
        """Return whether lines of this level are written."""
        return self.writes_number(_LEVELS[level])

    def writes_number(self, level: int) -> bool:
        """Return whether lines of this level, as `logging` numbers it, are written."""
        return level >= self.lowest

    def masked(self, text: str) -> str:
        """Return the text with all known secrets masked."""
        return self._redactor.text(text)

    def write(self, line: str) -> None:
        """Write a line that is already masked."""
        if not self._is_off:
            self._terminal.err(line)

    def logger(self, run: Run) -> FilteringBoundLogger:
        """Return a logger that puts the run on every line."""
        import structlog

        logger: FilteringBoundLogger = structlog.wrap_logger(
            _TerminalLogger(self),
            processors=self._processors(),
            wrapper_class=structlog.make_filtering_bound_logger(self.lowest),
        )
        return logger.bind(**_fields(run))

    def relay(self, level: str, event: dict[str, Any]) -> None:
        """Write an event that did not come from structlog, in the same format."""
        for process in self._processors():
            event = process(None, level, event)
        _TerminalLogger(self).msg(str(event))

    def report(self, run: Run, outcome: Outcome) -> None:
        """Write the one event that reports how a run ended."""
        level = "info" if outcome.error is None else "error"
        if not self.writes(level):
            return
        if self._terminal.is_watched and self.readable and not self.writes("info"):
            return  # the operator reads the result or the error on the terminal
        event = {
            **_fields(run),
            "exit_code": int(outcome.exit_code),
            "rows": outcome.rows,
            "dry_run": outcome.dry_run,
            "duration_ms": outcome.duration_ms,
            "operator": run.operator.name,
            **({"agent": run.operator.agent} if run.operator.agent else {}),
            "environment": run.environment,
            **({"error": outcome.error.code} if outcome.error else {}),
            # The log is outside the database, so it can prove that the newest events are missing.
            **({"audit_head": outcome.head} if outcome.head else {}),
            "event": f"run.{outcome.status.value}",
        }
        self.relay(level, event)

    def structlog_settings(self, run: Run | None = None) -> dict[str, Any]:
        """Return the configuration of structlog for the application's own loggers.

        Args:
            run: The run to name on every line.
        """
        import structlog

        return {
            "processors": self._processors(run),
            "wrapper_class": structlog.make_filtering_bound_logger(self.lowest),
            "logger_factory": lambda *_: _TerminalLogger(self),
        }

    def _processors(self, run: Run | None = None) -> list[Any]:
        whose = {"service": self.service} if self.service else {}
        whose |= {"run_id": run.id, "command": run.command} if run else {}

        def name(_logger: object, _method: str, event: Event) -> Event:
            return {**whose, **event}

        return [
            _add_context,
            name,
            *([self._tell] if self.service else []),
            _add_level_and_time,
            *self._formatting(),
        ]

    def _formatting(self) -> list[Any]:
        if self.readable:
            import structlog

            return [
                structlog.dev.ConsoleRenderer(
                    colors=self._terminal.color,
                    # rich's formatter would print the local variables of every frame, with
                    # passwords.
                    exception_formatter=structlog.dev.plain_traceback,
                )
            ]
        return [
            # Format exceptions before masking: the text of an exception may contain a secret.
            _format_exception,
            self._redact,
            _as_json,
        ]

    def _tell(self, _logger: object, method: str, event: Event) -> Event:
        """Report the exception of a line of structlog, as the handler of `logging` does."""
        error = _exception_of(event.get("exc_info"))
        if self.on_error and error and method in ("error", "exception", "critical"):
            self.on_error(str(event.get("event", "")), error, structlog_context())
        return event

    def _redact(self, _logger: object, _method: str, event: Event) -> Event:
        """Mask by key as well as by value: the value of "password" may not be a known secret."""
        masked: dict[str, Any] = self._redactor.data(event)
        return masked


def _fields(run: Run) -> dict[str, Any]:
    dry = {"dry_run": True} if run.dry_run else {}
    return {"run_id": run.id, "command": run.command, **dry}


def structlog_context() -> dict[str, Any]:
    """Return what the application bound in the context of structlog, if it uses structlog."""
    if "structlog" not in sys.modules:
        return {}
    import structlog

    return structlog.contextvars.get_contextvars()


def _add_context(_logger: object, _method: str, event: Event) -> Event:
    for name, value in structlog_context().items():
        event.setdefault(name, value)
    return event


def _add_level_and_time(_logger: object, method: str, event: Event) -> Event:
    event["level"] = {"warn": "warning", "exception": "error"}.get(method, method)
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


def _exception_of(exc_info: object) -> BaseException | None:
    """Return the exception of a value that `logging` and structlog accept as `exc_info`."""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    elif exc_info and not isinstance(exc_info, BaseException):
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _format_exception(logger: object, method: str, event: Event) -> Event:
    if "exc_info" not in event:
        return event
    import structlog

    return structlog.processors.format_exc_info(logger, method, event)


def _as_json(_logger: object, _method: str, event: Event) -> str:
    return json.dumps(event, default=_as_plain, ensure_ascii=False)


def _as_plain(value: Any) -> Any:
    """Return what a class of the application declares for structlog's JSON, or the repr."""
    return value.__structlog__() if hasattr(value, "__structlog__") else repr(value)


class _TerminalLogger:
    """Writes structlog's finished lines to standard error, and masks each line as one text."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def msg(self, message: str) -> None:
        self._logs.write(masked(self._logs.masked(message)) + "\n")

    debug = info = warning = error = critical = exception = log = msg


def masked(text: str) -> str:
    """Mask the secrets of all active runs: a nested run does not know those of its caller."""
    for logs, _ in active:
        text = logs.masked(text)
    return text


@asynccontextmanager
async def open_log(logs: Logs, run: Run) -> AsyncIterator[FilteringBoundLogger]:
    """Provide the resource `log`: a logger that puts the run's id on every line."""
    yield logs.logger(run)
