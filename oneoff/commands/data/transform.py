"""`data transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Argument, BatchCommand, Flag, Result

if TYPE_CHECKING:
    from oneoff.core.project import Project
    from oneoff.core.task import Task
    from oneoff.services.batch.command import Batches


class TransformByName(BatchCommand):
    """Run a transform of the project by its name.

    A transform changes the rows of a table in batches. `data transforms` lists all of them.
    """

    examples = (
        "data transform fill-locale --dry-run",
        "data transform fill-locale --max-time 2h --confirm",
        "data transform fill-locale --revert --confirm",
    )

    name: str = Argument(help="Name of the transform.")
    revert: bool = Flag(help="Undo the transform, with the batch that it declares for this.")

    def __init__(self, **values: Any) -> None:
        """Set the inputs; the transform is not known before the project's transforms are loaded."""
        super().__init__(**values)
        self._task: Task | None = None

    @property
    def task(self) -> Task | None:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride] - chosen by the inputs
        """The entry of the transform in the catalogue of admin tasks."""
        return self._task

    async def check_inputs(self, project: Project) -> None:
        """Refuse the name of a transform that does not exist, or that can't be reverted."""
        from oneoff.services.transforms.run import choose_transform, task_of

        chosen = choose_transform(project, self.name, revert=self.revert)
        self._task = task_of(chosen, revert=self.revert)

    async def handle(self, batches: Batches, project: Project) -> Result:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride] - it is called by the names it asks for
        """Find the transform, and run it within the given bounds."""
        from oneoff.services.transforms.run import choose_transform, run_transform

        wanted = choose_transform(project, self.name, revert=self.revert)
        return await run_transform(batches, wanted, self, revert=self.revert)

    def consequence(self) -> str:
        """Name the transform."""
        what = "reverts the transform {}" if self.revert else "runs the transform {}"
        return f"{what.format(self.name)} in {{target}}"
