"""Choose, run and list a project's transforms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import UsageError
from oneoff.core.project import Project
from oneoff.services import project_parts
from oneoff.services.batch import operator_control
from oneoff.services.batch.command import BatchCommand
from oneoff.services.transforms.transform import Transform

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.result import Result
    from oneoff.core.task import Task
    from oneoff.services.batch.command import Batches

COMMAND = "data transform"


def all_transforms(project: Project) -> list[type[Transform]]:
    """Return the project's transforms, in the order of their declaration.

    Raises:
        ConfigurationError: The project has none, or two with the same name.
    """
    found: list[type[Transform]] = project_parts.TRANSFORMS.load(project, code="no-transforms")
    return found


def choose_transform(project: Project, name: str, *, revert: bool) -> type[Transform]:
    """Return the transform with this name.

    Raises:
        ConfigurationError: The project has no transforms, or two with the same name.
        UsageError: The name is unknown, or the transform can't be reverted.
    """
    found = all_transforms(project)
    chosen = next((one for one in found if one.name == name), None)
    if chosen is None:
        raise project_parts.TRANSFORMS.unknown_name(name, found, code="unknown-transform")
    if revert and chosen.revert is None:
        raise UsageError(
            f"the transform {name!r} can't be reverted: it declares no revert",
            try_=f"declare revert = ... in {chosen.__module__}.{chosen.__qualname__}, or restore "
            "the backup",
            code="not-revertible",
        )
    return chosen


async def run_transform(
    batches: Batches, chosen: type[Transform], command: BatchCommand, *, revert: bool
) -> Result:
    """Run a transform, or the batch that reverts it, with the bounds of a command.

    The name of the batch is the command line that resumes it: "data transform fill-locale
    --revert". Workers of a fleet find the command and the transform by this name too.
    """
    batch_class = chosen.revert if revert and chosen.revert else chosen
    bounds = {name: getattr(command, name) for name in BatchCommand.fields()}
    result = await batches.run(
        batch_class(**bounds),
        name=line_of(chosen, revert=revert),
        reverts=line_of(chosen, revert=not revert),
    )
    about = {"transform": chosen.name, "task_id": _task_id(batch_class)}
    return replace(result, data=about | result.data)


def task_of(chosen: type[Transform], *, revert: bool) -> Task | None:
    """Return the entry of a transform, or of its revert, in the catalogue of admin tasks."""
    batch_class = chosen.revert if revert and chosen.revert else chosen
    return batch_class.task


def _task_id(batch_class: type[BatchCommand]) -> str:
    return batch_class.task.id if batch_class.task else ""


def line_of(chosen: type[Transform], *, revert: bool = False) -> str:
    """Return the command line that runs a transform, without options for a single run."""
    return f"{COMMAND} {chosen.name}" + (" --revert" if revert else "")


async def list_transforms(session: AsyncSession, project: Project) -> list[dict[str, Any]]:
    """Return all transforms, each with the state of its newest batch."""
    rows = []
    for one in all_transforms(project):
        lines = [line_of(one), line_of(one, revert=True)]
        last = await operator_control.latest(session, lines)
        rows.append(
            {
                "transform": one.name,
                "task_id": _task_id(one),
                "state": _state(last),
                "rows_changed": last["rows_changed"] if last else 0,
                "revertible": one.revert is not None,
                "batch": last["batch"] if last else "",
                "does": one.summary(),
            }
        )
    return rows


def _state(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never run"
    reverts = last["command"].endswith(" --revert")
    return f"revert {last['state']}" if reverts else str(last["state"])
