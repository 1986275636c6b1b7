"""Structured logs on standard error: JSON off a terminal, readable on one, run id on every line.

structlog is imported only when a line is really written or a command asks for `log`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from oneoff.config import Config
    from oneoff.options import GlobalOptions
    from oneoff.redact import Redactor
    from oneoff.run import Run
    from oneoff.terminal import Terminal

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def level_of(config: Config, options: GlobalOptions, terminal: Terminal) -> str:
    """Return the lowest level that is written.

    A person at a terminal reads results; the log of what went well is there with -v. Everywhere
    else LOG_LEVEL decides, because there the log is what remains.
    """
    if options.quiet:
        return "error"
    if options.debug or options.verbose > 1:
        return "debug"
    if options.verbose:
        return "info"
    if terminal.shows_logs_readably and "LOG_LEVEL" not in config.sources:
        return "warning"
    return config.log_level


class Logs:
    """Makes the loggers of one process.

    Attributes:
        level: The lowest level that is written: "info".
    """

    def __init__(self, terminal: Terminal, redactor: Redactor, level: str) -> None:
        self._terminal = terminal
        self._redactor = redactor
        self._configured = False
        self.level = level

    def writes(self, level: str) -> bool:
        """Return whether a line of this level would be written at all."""
        return _LEVELS[level] >= _LEVELS[self.level]

    def logger(self, run: Run) -> FilteringBoundLogger:
        """Return a logger that puts the run on every line."""
        self.configure()
        import structlog

        logger: FilteringBoundLogger = structlog.get_logger()
        return logger.bind(run_id=run.id, command=run.command)

    def configure(self) -> None:
        """Set structlog up once, for the application's own loggers too."""
        if self._configured:
            return
        import structlog

        self._configured = True
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *self._formatting(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[self.level]),
            logger_factory=lambda *_: _TerminalLogger(self._terminal, self._redactor),
            cache_logger_on_first_use=False,
        )

    def _formatting(self) -> list[Any]:
        import structlog

        if self._terminal.shows_logs_readably:
            return [
                structlog.dev.ConsoleRenderer(
                    colors=self._terminal.color,
                    # Never rich's: it prints the locals of every frame, passwords included.
                    exception_formatter=structlog.dev.plain_traceback,
                )
            ]
        return [
            structlog.processors.format_exc_info,
            self._redact,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]

    def _redact(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Mask by key as well as by value: {"password": ...} has no text to recognise."""
        masked: dict[str, Any] = self._redactor.data(event)
        return masked


class _TerminalLogger:
    """Where structlog's lines end: on standard error, masked once more as whole texts."""

    def __init__(self, terminal: Terminal, redactor: Redactor) -> None:
        self._terminal = terminal
        self._redactor = redactor

    def msg(self, message: str) -> None:
        self._terminal.err(self._redactor.text(message) + "\n")

    debug = info = warning = error = critical = exception = log = msg
