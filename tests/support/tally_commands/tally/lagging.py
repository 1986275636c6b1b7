"""`tally lagging`: wait for a standby server and for autovacuum; the first row has the lag."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Update, update

from oneoff import BatchCommand, Option, Throttle
from oneoff.services.batch.probes import Autovacuum, ReplicaLag
from tests.support.tally_project import Tally


class Lagging(BatchCommand):
    """Do every row once, while the standby server keeps up and autovacuum does not run."""

    examples = ("tally lagging --confirm",)
    range_column = "id"

    column: str = Option(default="age", help="Where the first row has the lag.")

    watched: str = Option(default="tally", help="The table of the probe of autovacuum.")

    def change(self) -> Update:
        """Count each row once."""
        return update(Tally).values(n=Tally.n + 1)

    def probes(self) -> Sequence[Throttle]:
        """Read the lag from the table instead of the standby server."""
        lag = ReplicaLag(query=f"SELECT {self.column}::float8 FROM tally WHERE id = 1")
        return (lag, Autovacuum(self.watched))
