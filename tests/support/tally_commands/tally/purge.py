"""`tally purge`: delete by age; ten rows have the same age."""

from __future__ import annotations

from sqlalchemy import Delete, delete

from oneoff import Argument, BatchCommand
from tests.support.tally_project import Tally


class Purge(BatchCommand):
    """Delete what is younger than an age."""

    examples = ("tally purge 20 --confirm",)
    batch_size = 7
    range_column = "age"

    below: int = Argument(help="The age.")

    def change(self) -> Delete:
        """Delete the rows below the age."""
        return delete(Tally).where(Tally.age < self.below)
