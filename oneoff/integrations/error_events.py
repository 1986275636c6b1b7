"""Tell the listeners of plug-ins about the errors that a long-running process logs."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.core.events import ProcessError
from oneoff.runtime.error_translation import UnexpectedError, explain
from oneoff.runtime.plugins.entry_points import EVENTS, installed_entry_points
from oneoff.runtime.plugins.listeners import Listeners

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.runtime.logs.loggers import Logs
    from oneoff.utils.redaction import Redactor

_TOLD = "_oneoff_told"
"""Attribute of an exception that the listeners were told about."""


def report_errors(logs: Logs, config: Config, redactor: Redactor) -> Listeners | None:
    """Tell the listeners about each exception that these logs report at level error.

    An exception that is logged twice, by the application and by its server, is told once. At the
    end of the process the events that are left are waited for as at the end of a run.

    Args:
        logs: The logs of the process.
        config: The settings of the process.
        redactor: Masks secrets.

    Returns:
        The listeners; None if there is none.
    """
    points = [one for one in installed_entry_points() if one.group == EVENTS]
    listeners = Listeners(points, config, warn=logging.getLogger("oneoff.plugins").warning)
    if not listeners:
        return None
    atexit.register(listeners.wait)

    def tell(message: str, error: BaseException, context: Mapping[str, Any]) -> None:
        if getattr(error, _TOLD, False):
            return
        with suppress(AttributeError):  # a class with __slots__
            setattr(error, _TOLD, True)
        event = ProcessError(
            service=logs.service,
            environment=config.configured_environment,
            message=redactor.text(message),
            exception=error,
            unexpected=_is_unexpected(error),
            context=redactor.data(context),
            mask=redactor.data,
        )
        listeners.emit(event)

    logs.on_error = tell
    return listeners


def _is_unexpected(error: BaseException) -> bool:
    # The listeners were told about a bug in a run when the run ended.
    return not isinstance(error, CommandError) and isinstance(explain(error), UnexpectedError)
