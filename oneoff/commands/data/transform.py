"""`data transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Argument, BatchCommand, Flag, Result

if TYPE_CHECKING:
    from oneoff.core.project import Project
    from oneoff.services.batch.command import Batches


class TransformByName(BatchCommand):
    """Run a transform of the project: a change of all rows, in batches, by its name.

    `data transforms` lists them.
    """

    examples = (
        "data transform fill-locale --dry-run",
        "data transform fill-locale --max-time 2h --confirm",
        "data transform fill-locale --revert --confirm",
    )

    name: str = Argument(help="The transform.")
    revert: bool = Flag(help="Take it back, by the batch that it declares for that.")

    async def handle(self, batches: Batches, project: Project) -> Result:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride] - it is called by the names it asks for
        """Choose the transform, and run it within the bounds that were given."""
        from oneoff.services.transforms.run import choose_transform, run_transform

        wanted = choose_transform(project, self.name, revert=self.revert)
        return await run_transform(batches, wanted, self, revert=self.revert)

    def consequence(self) -> str:
        """Name it."""
        what = "takes the transform {} back" if self.revert else "runs the transform {}"
        return f"{what.format(self.name)} in {{target}}"
