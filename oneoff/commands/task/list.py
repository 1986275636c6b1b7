"""`task list`."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Option, Result
from oneoff.core.task import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry


class List(BaseCommand):
    """List the admin tasks of the project, with their states in this database.

    The states follow from the record: draft, approved, executed, reverted.
    """

    access = Access.READ
    examples = ("task list", "task list --category data-fix --json")

    category: str = Option(
        default="",
        choices=CATEGORIES,
        help="Only tasks of this category.",
    )

    async def handle(
        self,
        session: AsyncSession,
        registry: Registry,
        project: Project,
        config: Config,
        run: Run,
    ) -> Result:
        from oneoff.services.tasks import catalogue
        from oneoff.services.tasks.approved import states_now

        found = catalogue.read_catalogue(registry, project)
        chosen = [one for one in found.entries if self.category in ("", one.task.category)]
        pairs = [(one, catalogue.undoing(found, registry, one)) for one in chosen]
        states = await states_now(session, pairs, config, run)
        rows = [
            {
                "id": one.task.id,
                "category": one.task.category,
                "state": states[one.task.id].state.value,
                "executed": states[one.task.id].executed_at,
                "command": one.line,
                "task": one.command.summary(),
                "owner": one.task.owner,
                "invoked_by": one.task.invoked_by,
                "approval": one.task.approval,
                "rollback": one.task.rollback,
                "irreversible": one.task.irreversible,
            }
            for one in chosen
        ]
        return Result.report(
            rows,
            f"{len(rows)} of {len(found.entries)} admin tasks",
            warnings=found.warnings,
            table=[*map(_line, rows)],
        )


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fits a line of 80 columns."""
    executed = row["executed"]
    return {
        "id": row["id"],
        "category": row["category"],
        "state": row["state"],
        "executed": executed and f"{executed.astimezone(UTC):%Y-%m-%d}",
        "command": row["command"],
    }
