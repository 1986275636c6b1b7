"""Read the phase of a revision: what the code that runs meanwhile may expect.

In the file of the revision, `phase = "expand"` or `phase = "contract"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError

if TYPE_CHECKING:
    from alembic.script import Script

    from oneoff.services.migrations.history import History

EXPAND = "expand"
"""It adds what the next release needs, and the running code does not notice."""
CONTRACT = "contract"
"""It removes what no release uses any more."""


def read_phase(history: History, revision: Script) -> str:
    """Return the phase of a revision; empty if its file declares none.

    Raises:
        CommandError: It declares another one.
    """
    phase = getattr(revision.module, "phase", "")
    if phase not in ("", EXPAND, CONTRACT):
        raise CommandError(
            f"{history.describe(revision.revision).file} has the phase {phase!r}",
            why=f"a phase is {EXPAND} or {CONTRACT}",
            try_="correct the file and try again",
            code="broken-revision",
        )
    return str(phase)


def read_phases(history: History) -> dict[str, str]:
    """Return the phases of all revisions.

    Raises:
        CommandError: A phase is unknown.
    """
    scripts = history.scripts.walk_revisions()
    return {script.revision: read_phase(history, script) for script in scripts}
