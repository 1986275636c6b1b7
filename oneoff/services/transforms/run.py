"""Choose a project's transforms, and say what became of them."""

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
    from oneoff.services.batch.command import Batches

COMMAND = "data transform"


def all_transforms(project: Project) -> list[type[Transform]]:
    """Return the project's transforms, in its order.

    Raises:
        ConfigurationError: It has none, or two of one name.
    """
    found: list[type[Transform]] = project_parts.TRANSFORMS.of(project, code="no-transforms")
    return found


def choose_transform(project: Project, name: str, *, revert: bool) -> type[Transform]:
    """Return the transform of this name.

    Raises:
        ConfigurationError: The project has none, or two of one name.
        UsageError: None has this name, or it can't be reverted.
    """
    found = all_transforms(project)
    wanted = next((one for one in found if one.name == name), None)
    if wanted is None:
        raise project_parts.TRANSFORMS.unknown(name, found, code="unknown-transform")
    if revert and wanted.revert is None:
        raise UsageError(
            f"the transform {name!r} can't be reverted: it declares no revert",
            try_=f"declare revert = ... in {wanted.__module__}.{wanted.__qualname__}, or restore "
            "the backup",
            code="not-revertible",
        )
    return wanted


async def transform(
    batches: Batches, wanted: type[Transform], given: BatchCommand, *, revert: bool
) -> Result:
    """Run a transform, or what reverts it, within the bounds that a command was given.

    Its batch is known by the line that resumes it: "data transform fill-locale --revert".
    """
    work = wanted.revert if revert and wanted.revert else wanted
    bounds = {name: getattr(given, name) for name in BatchCommand.fields()}
    name, opposite = (line_of(wanted, revert=way) for way in (revert, not revert))
    result = await batches.run(work(**bounds), name=name, opposite=opposite)
    about = {"transform": wanted.name, "task_id": wanted.task_id}
    return replace(result, data=about | result.data)


def line_of(wanted: type[Transform], *, revert: bool = False) -> str:
    """Return the words that run a transform."""
    return f"{COMMAND} {wanted.name}" + (" --revert" if revert else "")


async def report(session: AsyncSession, project: Project) -> list[dict[str, Any]]:
    """Return all transforms with what their newest batch is at."""
    rows = []
    for one in all_transforms(project):
        lines = [line_of(one), line_of(one, revert=True)]
        last = await operator_control.latest(session, lines)
        rows.append(
            {
                "transform": one.name,
                "task_id": one.task_id,
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
