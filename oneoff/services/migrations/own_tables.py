"""Refuse revisions that drop the framework's own tables.

An application's env.py does not know them, so `alembic revision --autogenerate` takes them for
tables whose models were removed. Only our own commands leave them out without being told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from oneoff.services.migrations.history import History

_DROPS = re.compile(
    r"""\bdrop_table\(\s*["']oneoff_|\bdrop\s+table\s+(?:if\s+exists\s+)?[\w."']*\boneoff_""",
    re.IGNORECASE,
)


def refuse_drops(history: History, steps: Iterable[RevisionStep]) -> None:
    """Check the files of the revisions that would be applied.

    Raises:
        CommandError: One of them drops a table whose name begins with `oneoff_`.
    """
    for step in steps:
        file = Path(step.revision.path)
        if (
            step.is_upgrade
            and file.suffix == ".py"
            and _DROPS.search(file.read_text("utf-8", "replace"))
        ):
            raise CommandError(
                f"{history.shorten(file)} drops tables of oneoff",
                why="they hold the record and the environment of this database; Alembic takes "
                "them for removed models, because env.py does not leave them out",
                try_=(
                    f"remove these lines from {history.shorten(file)}",
                    "pass include_name in env.py: see docs/howto/use-in-your-project.md",
                ),
                code="drops-own-tables",
            )
