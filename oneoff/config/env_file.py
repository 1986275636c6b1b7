"""Read the file with variables next to `manage.py`, usually `.env`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read_env_file(path: Path, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of the file, and its problems by line.

    Args:
        path: The file; it need not exist.
        name: Its name as the project declares it, for messages.
    """
    if not path.is_file():
        return {}, {}
    # Imported only if there is a file: python-dotenv takes 10 ms.
    from io import StringIO

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8"))))
    # An unreadable line may contain a password, so only its number is reported.
    broken = {
        f"{name}:{number}": f"{name} line {number} can't be read: "
        "is a quote not closed, or an = missing?"
        for number in (_line(one.original) for one in bindings if one.error)
    }
    good = StringIO("".join(one.original.string for one in bindings if not one.error))
    values = dotenv_values(stream=good)
    return {name: text for name, text in values.items() if text is not None}, broken


def _line(original: Any) -> int:
    """Return the line number of a binding. python-dotenv includes the blank lines before it."""
    text: str = original.string
    blank = text[: len(text) - len(text.lstrip())]
    return int(original.line) + blank.count("\n")
