"""Read env.py and the revision files as text, to find the head without importing Alembic.

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


# What in a configuration of Alembic makes revisions be found elsewhere than in `versions/`.
_LOCATION = re.compile(r"^\s*(?:recursive_)?version_locations\b", re.MULTILINE)
_CALL = re.compile(r"\brun_env\(")
# What in env.py may name another version table than Alembic's usual one, or call `run_env` again:
# an indented call may be in a loop.
_NOT_PLAIN = re.compile(
    r"version_table|\*\*|\bcontext\b|\balembic\b|^[ \t]+run_env\(", re.MULTILINE
)


def plain_env(folder: Path) -> bool:
    """Return whether env.py only calls `run_env` once, and with the usual version table."""
    source = (folder / "env.py").read_text(encoding="utf-8", errors="replace")
    return len(_CALL.findall(source)) == 1 and not _NOT_PLAIN.search(source)


def plain_locations(folder: Path, root: Path) -> bool:
    """Return whether all revisions are in the folder `versions`."""
    files = (root / "alembic.ini", folder.parent / "alembic.ini", root / "pyproject.toml")
    return not any(_LOCATION.search(file.read_text("utf-8")) for file in files if file.is_file())


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
