"""Find the head revision by reading the files as text, without importing Alembic.

If there is nothing to migrate, importing Alembic would take half of the time of `migrate`. If a
file is not written in the usual way, the result is empty and the caller asks Alembic.
"""

from __future__ import annotations

import re
from pathlib import Path

# Matches `revision = "a1"` and `down_revision: str | None = None  # comment`.
_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=[ \t]*([^#\n]*)", re.MULTILINE)
_NAMES = re.compile(r"""["']([\w.-]+)["']""")
# None, one string, or a tuple of strings. Any other value needs Python to evaluate it.
_PLAIN_VALUE = re.compile(r"""None|["'][\w.-]+["']|\((?:["'][\w.-]+["'],?\s*)+\)""")


def plain_head(folder: Path) -> str:
    """Return the only head of a script directory, or an empty text if Alembic must find it.

    Args:
        folder: The folder that holds `env.py` and `versions/`.
    """
    known: set[str] = set()
    continued: set[str] = set()
    if any((folder / "versions").glob("*.pyc")):
        return ""
    for path in (folder / "versions").glob("*.py"):
        if path.name == "__init__.py":
            continue
        values = _values(path.read_text(encoding="utf-8", errors="replace"))
        # No identifier, several, or one that another file has.
        if len(values.get("revision", ())) != 1 or not known.isdisjoint(values["revision"]):
            return ""
        known.update(values["revision"])
        continued.update(values.get("down_revision", ()))
    # A head is a revision that no other revision follows. If a file follows a revision that is not
    # in the folder, Alembic must report that.
    heads = known - continued
    return heads.pop() if len(heads) == 1 and continued <= known else ""


def _values(source: str) -> dict[str, list[str]]:
    """Return the identifiers that a revision file assigns; empty if only Alembic can read them."""
    values: dict[str, list[str]] = {}
    for name, text in _ASSIGNMENT.findall(source):
        if name in values or not _PLAIN_VALUE.fullmatch(text.strip()):
            return {}
        values[name] = _NAMES.findall(text)
    return values
