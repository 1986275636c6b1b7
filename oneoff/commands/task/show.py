"""`task show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry


class Show(BaseCommand):
    """Show an admin task: what is declared, its state, and its runs.

    The runs are those recorded in this database, the newest 20 of them, also dry runs and refused
    ones.
    """

    access = Access.READ
    examples = ("task show ADM-002", "task show ADM-002 --json")

    id: str = Argument(
        help="Number of the task; see task list.", complete="oneoff.services.tasks.catalogue:ids"
    )

    async def handle(
        self,
        session: AsyncSession,
        registry: Registry,
        project: Project,
        config: Config,
        run: Run,
    ) -> Result:
        from oneoff.services.tasks import catalogue, history, page
        from oneoff.services.tasks.approved import states_now

        found = catalogue.read_catalogue(registry, project)
        entry = found.find(self.id)
        undo = catalogue.undoing(found, registry, entry)
        states = await states_now(session, [(entry, undo)], config, run)
        log = await history.execution_log(session, entry)
        state = states[entry.task.id].state.value
        return Result.report(page.facts(entry, undo, state, log))
