"""Create the errors for commands that can't be found or loaded; imported only for such an error."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.options import OPTIONS
from oneoff.runtime.registry.names_elsewhere import called_here
from oneoff.runtime.terminal import PROGRAM
from oneoff.utils.places import error_text, place_of
from oneoff.utils.suggestions import similar_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oneoff.runtime.registry.entry import Entry


def unknown_command(
    words: Sequence[str],
    depth: int,
    names: Iterable[str],
    unread: Iterable[tuple[str, str]],
) -> UsageError:
    """Return the error for a name that no command has; it suggests similar names.

    Args:
        words: The words that the operator typed.
        depth: How many of them are the wrong name; the others may be arguments.
        names: The names of all commands.
        unread: What is not read as commands, and why; it may be the reason.
    """
    names = list(names)
    quoted = _quoted_name(words, names)
    near = [quoted] if quoted else similar_names(_from_name(words, names), names) if words else []
    problem = _not_a_command(words, depth)
    elsewhere, line = called_here(words, names)
    if elsewhere:
        problem, near = elsewhere, [line] if line else []
    elif quoted:
        problem = f"{quoted!r} in quotes is one word, not a command; write it without quotes"
    elif near and not words[0].startswith("-"):
        problem += f"; did you mean {near[0]}?"
    tries = [f"{PROGRAM} {name} --help" for name in near] or [f"{PROGRAM} help"]
    if line:
        tries = [f"{PROGRAM} {line}"]
    problems = [problem, *map(" ".join, unread)]
    return UsageError(problems, try_=tries, code="unknown-command")


def _not_a_command(words: Sequence[str], depth: int) -> str:
    if not words:
        return "no command was given"
    if words[0].startswith("-"):
        option = words[0].partition("=")[0]
        known = {spelling for one in OPTIONS for spelling in (one.spelling, f"-{one.short}")}
        if option not in known:
            return f"{option} is not an option that may come before the command's name"
        return f"{option} can't come before the command's name; put it after the name"
    return f"{' '.join(words[:depth])!r} is not a command"


def _quoted_name(words: Sequence[str], names: Iterable[str]) -> str:
    """Return the command whose entire name was typed as one word, or an empty text."""
    said = f"{words[0].lower()} " if words and " " in words[0] else ""
    return max((name for name in names if said.startswith(f"{name} ")), key=len, default="")


def _from_name(words: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the words from the command's name on; an option and its value may precede it."""
    firsts = {name.partition(" ")[0] for name in names}
    starts = (at for at, word in enumerate(words[:3]) if word in firsts)
    is_option = bool(words) and words[0].startswith("-")
    return list(words[next(starts, 0) if is_option else 0 :])


def is_a_group(name: str, names: Iterable[str]) -> UsageError:
    """Return the error for the name of a group, or for an option inside a command's name."""
    members = [member for member in sorted(names) if member.startswith(f"{name} ")]
    return UsageError(
        f"{name!r} is a group of commands: {', '.join(members)}",
        try_=(f"{PROGRAM} help {name}", f"{PROGRAM} {members[0]} --help"),
        code="unknown-command",
    )


def collision(entry: Entry, first: str) -> ConfigurationError:
    """Return the error for two commands with the same name.

    Args:
        entry: The second of them.
        first: The place of the first.
    """
    tries = (
        f"rename {entry.file}",
        "or set `overrides = True` in its class, if it is meant to replace the other",
    )
    if entry.plugin:
        own = entry.name.replace("-", "_").replace(" ", "/")
        tries = (
            f"uninstall {entry.plugin.partition(' ')[0]}, or the plug-in with the other command",
            f"or derive a class with `overrides = True` from one, in {own}.py of your commands",
        )
    return ConfigurationError(
        f"two commands are named {entry.name!r}: {first} and {entry.place}",
        why="a command is found by its path, so only one file can have each name",
        try_=tries,
        code="command-collision",
    )


def group_collision(name: str, file: str, folder: str) -> ConfigurationError:
    """Return the error for a command that has the name of a group."""
    return ConfigurationError(
        f"{name!r} is both a command and a group: {file} and {folder}",
        why="a command is found by its path, so a group can't have the same name",
        try_=f"rename {file} or the folder {folder}",
        code="command-collision",
    )


def no_command(name: str, file: str, found: Sequence[str]) -> ConfigurationError:
    """Return the error for a module that doesn't define exactly one command."""
    defined = f"{len(found)} commands: {', '.join(found)}" if found else "no command"
    return ConfigurationError(
        f"{name!r} is broken: {file} defines {defined}",
        why="a command file defines one subclass of BaseCommand with a `handle` method",
        try_=(
            f"leave one public command class in {file}",
            'or name the class of this command: __all__ = ["NAME"]',
        ),
        code="command-broken",
    )


def import_failed(name: str, file: str, error: BaseException) -> ConfigurationError:
    """Return the error for a command that can't be imported or is declared wrongly, with place."""
    return ConfigurationError(
        f"{name!r} is broken: {place_of(error) or file}: {error_text(error)}",
        why="other commands are not affected",
        try_=f"{PROGRAM} {name} --traceback",
        code="command-broken",
    )


def no_task(name: str, where: str, found: object) -> ConfigurationError:
    """Return the error for a built-in command whose import string does not name a `Task`."""
    return ConfigurationError(
        f"{where!r}, the task of {name!r}, is of the type {type(found).__name__}, not Task",
        why=f'the project declares it: Project(..., tasks={{"{name}": "{where}"}})',
        try_="name the object that oneoff.Task(...) returned",
        code="project-broken",
    )
