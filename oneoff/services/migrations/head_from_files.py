"""Find the newest revision by reading the files, without importing Alembic.

That is half of what it costs to find that there is nothing to do. Anything unusual is left to
Alembic itself.
"""

from __future__ import annotations

import re
from pathlib import Path

_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=[ \t]*([^#\n]*)", re.MULTILINE)
_NAMES = re.compile(r"""["']([\w.-]+)["']""")
_PLAIN_VALUE = re.compile(r"""None|["'][\w.-]+["']|\((?:["'][\w.-]+["'],?\s*)+\)""")


def plain_head(scripts: Path) -> str:
    """Return the one head of a script directory, or an empty text if Alembic must say.

    Args:
        scripts: The folder that holds `env.py` and `versions/`.
    """
    known: set[str] = set()
    continued: set[str] = set()
    for path in (scripts / "versions").glob("*.py"):
        if path.name == "__init__.py":
            continue
        values = _values(path.read_text(encoding="utf-8", errors="replace"))
        if len(values.get("revision", ())) != 1 or not known.isdisjoint(values["revision"]):
            return ""
        known.update(values["revision"])
        continued.update(values.get("down_revision", ()))
    heads = known - continued
    return heads.pop() if len(heads) == 1 and continued <= known else ""


def _values(source: str) -> dict[str, list[str]]:
    """Return the identifiers a revision file assigns; nothing when it is not plain."""
    values: dict[str, list[str]] = {}
    for name, text in _ASSIGNMENT.findall(source):
        if name in values or not _PLAIN_VALUE.fullmatch(text.strip()):
            return {}
        values[name] = _NAMES.findall(text)
    return values
