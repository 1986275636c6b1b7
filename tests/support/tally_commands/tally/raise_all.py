"""`tally raise-all`: do every row once, with one statement for each range of ids."""

from __future__ import annotations

import os

from sqlalchemy import Update, update

from oneoff import BatchCommand
from tests.support.tally_project import Tally


class RaiseAll(BatchCommand):
    """Do every row once, within the database."""

    examples = ("tally raise-all --confirm",)
    batch_size = int(os.environ.get("TALLY_BATCH", "100"))
    range_column = "id"

    def change(self) -> Update:
        """Count each row once."""
        return update(Tally).values(n=Tally.n + 1)
