"""Measure the steps of one run, and tell the listeners of plug-ins how it starts and ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from oneoff.runtime.error_translation import UnexpectedError
from oneoff.utils.places import error_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from oneoff.core.events import AnyEvent, RunEnded, RunStarted, Step
    from oneoff.core.outcome import Call, Outcome
    from oneoff.core.policy import Mode
    from oneoff.core.run import Run
    from oneoff.runtime.plugins.listeners import Listeners
    from oneoff.utils.redaction import Redactor


class RunEvents:
    """The events of one run.

    Args:
        project: Name of the project.
        listeners: Those of the project.
        call: The command and its options.
        mode: How the run may change things.
        redactor: Masks secrets.
    """

    def __init__(
        self, project: str, listeners: Listeners, call: Call, mode: Mode, redactor: Redactor
    ) -> None:
        self._project, self._listeners = project, listeners
        self._call, self._mode, self._redactor = call, mode, redactor
        self._steps: list[tuple[str, datetime, float]] = []

    def step(self, name: str) -> None:
        """End the previous step, and start this one."""
        self._steps.append((name, datetime.now(UTC), monotonic()))

    def started(self, run: Run) -> None:
        """Tell the listeners that the work starts."""
        if self._listeners:
            self._tell(lambda: self._started(run))

    async def ended(self, run: Run, outcome: Outcome, *, wait: bool) -> Outcome:
        """Tell the listeners how the run ended.

        Args:
            run: The facts of the run.
            outcome: How it ended.
            wait: Whether to wait until they are done, and to take the warnings about them; a
                nested run leaves both to the outer one.

        Returns:
            The outcome, with these warnings.
        """
        if not self._listeners:
            return outcome
        self._tell(lambda: self._ended(run, outcome))
        if not wait:
            return outcome
        await self._listeners.finish()
        return replace(outcome, warnings=(*outcome.warnings, *self._listeners.take_warnings()))

    def _tell(self, make: Callable[[], AnyEvent]) -> None:
        """Emit an event. An error in making it is a warning: the run may be committed."""
        try:
            self._listeners.emit(make())
        except Exception as exc:  # noqa: BLE001 - a command's own `confirm_level` may raise
            self._listeners.warn(f"the listeners were not told about the run: {error_text(exc)}")

    def _started(self, run: Run) -> RunStarted:
        from oneoff.core.events import RunStarted  # takes 4 ms: not in runs without a listener

        return RunStarted(**self._facts(run))

    def _ended(self, run: Run, outcome: Outcome) -> RunEnded:
        from oneoff.core.events import RunEnded

        return RunEnded(
            **self._facts(run),
            status=outcome.status,
            exit_code=int(outcome.exit_code),
            message=self._redactor.text(outcome.message),
            error=outcome.error.code if outcome.error else "",
            unexpected=isinstance(outcome.error, UnexpectedError),
            exception=outcome.cause,
            rows=outcome.rows,
            tables=outcome.tables,
            warnings=self._redactor.lines(outcome.warnings),
            duration_ms=outcome.duration_ms,
            steps=self._measured(),
        )

    def _facts(self, run: Run) -> dict[str, Any]:
        command, options = self._call.command, self._call.options
        return {
            "project": self._project,
            "run": run,
            "access": command.access,
            "confirm": max(command.confirm, command.confirm_level()),
            "mode": self._mode,
            "break_glass": bool(options.break_glass),
            "approval": options.approval,
            "mask": self._redactor.data,
        }

    def _measured(self) -> list[Step]:
        """Return the steps; each ends when the next one starts, and the last one now."""
        from oneoff.core.events import Step

        ends = [*(begin for _, _, begin in self._steps[1:]), monotonic()]
        return [
            Step(name, at, end - begin)
            for (name, at, begin), end in zip(self._steps, ends, strict=True)
        ]
