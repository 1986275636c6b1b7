"""Restore the configuration of the logging module after code that changes it."""

from __future__ import annotations

import logging


class LoggingState:
    """The loggers as they are now. A file that Alembic generates replaces their handlers."""

    def __init__(self) -> None:
        self._disabled = logging.root.manager.disable
        self._loggers = {
            logger: (logger.handlers[:], logger.level, logger.disabled, logger.propagate)
            for logger in _loggers()
        }

    def restore(self) -> None:
        """Restore all loggers; loggers that are new keep only their level."""
        logging.disable(self._disabled)
        for logger in _loggers():
            kept = self._loggers.get(logger, ([], logger.level, False, True))
            logger.handlers[:], level, logger.disabled, logger.propagate = kept
            logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    named = logging.root.manager.loggerDict.values()
    return [logging.root, *(one for one in named if isinstance(one, logging.Logger))]
