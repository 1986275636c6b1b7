"""Choose what pg_restore restores, from its list of the contents of a backup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.backups.checked import Checked

# "3345; 0 16386 TABLE DATA public oneoff_runs ada": the kind is in capital letters. The owner at
# the end is not looked at.
_ENTRY = r"^\d+; \d+ \d+ "
_FRAMEWORK = re.compile(_ENTRY + r"[A-Z ]+ \S+ (?:TABLE |SEQUENCE )?(?:ix_|uq_)?oneoff_")
_DATA = re.compile(_ENTRY + r"TABLE DATA \S+ (?P<table>oneoff_\w+) ")
# They exist already. Only their owners may change them.
_EXISTING = re.compile(_ENTRY + r"(?:COMMENT - EXTENSION|(?:COMMENT - )?SCHEMA - public) ")


class _File(Protocol):
    name: str

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


def options_for(checked: Checked, file: _File, entries: Sequence[str]) -> list[str]:
    """Return options of pg_restore, and write the entries into the file that they name.

    In a backup of another database, the owners and privileges are those of its server. They are
    not restored: all objects belong to the user that restores them.
    """
    file.write("".join(f"{entry}\n" for entry in entries if not _EXISTING.match(entry)))
    file.flush()
    foreign = [] if checked.same else ["--no-owner", "--no-privileges"]
    return ["--no-password", f"--use-list={file.name}", *foreign]


def without_framework(entries: Sequence[str], loaded: Sequence[str]) -> list[str]:
    """Return the entries without those of the framework's tables, but with the rows of some.

    Args:
        entries: The list of contents.
        loaded: The tables whose rows are restored into the existing tables.
    """

    def is_restored(entry: str) -> bool:
        rows = _DATA.match(entry)
        return rows["table"] in loaded if rows else not _FRAMEWORK.match(entry)

    return [entry for entry in entries if is_restored(entry)]
