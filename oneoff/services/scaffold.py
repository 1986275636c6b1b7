"""Write the files of a new command and its test. They work, and are meant to be edited."""

from __future__ import annotations

import keyword
import re
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import CommandError, UsageError
from oneoff.utils.files import file_advice, file_problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oneoff.runtime.registry.registry import Registry

_WORD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
IMPORTED = frozenset("Access Argument BaseCommand CheckFailed Confirm DryRun Result Task".split())
"""Names that a template imports, so the new class must have another name."""

COMMAND = Template('''\
"""`$name`."""

from oneoff import Argument, BaseCommand, Result


class $class_name(BaseCommand):
    """Describe what the command does. Help shows this line as the summary.

    This command only reads. A command that writes also declares access = Access.WRITE,
    dry_run = DryRun.ROLLBACK and confirm = Confirm.PROMPT.
    """

    examples = ("$name", "$name yesterday")

    day: str = Argument(default="today", help="What the input means.")

    async def handle(self) -> Result:
        return Result.unchanged(f"$name ran for {self.day}")
''')

TEST = Template('''\
"""`$name`."""

from oneoff.testing import Manage


async def test_${leaf}_runs_for_today_by_default(manage: Manage) -> None:
    """The argument is optional."""
    outcome = await manage("$name")

    assert (0, "$name ran for today\\n") == (outcome.exit_code, outcome.stdout)


async def test_${leaf}_runs_for_the_given_day(manage: Manage) -> None:
    """The message contains the argument."""
    outcome = await manage("$name yesterday")

    assert (0, "$name ran for yesterday\\n") == (outcome.exit_code, outcome.stdout)
''')


class NewFile(NamedTuple):
    """A file to write."""

    path: Path
    text: str


def words_of(name: Sequence[str]) -> list[str]:
    """Return the words of a new command's name, typed as `report daily` or `report/daily`.

    Raises:
        UsageError: It can't be a name. The error suggests a valid one.
    """
    words = [word for text in name for word in re.split(r"[/\s]+", text) if word]
    if words[:1] == ["help"]:
        raise UsageError(
            "a command's name can't start with 'help': `manage.py help ...` shows help",
            try_=f"python manage.py commands new {' '.join(words[1:]) or 'report daily'}",
            code="bad-command-name",
        )
    valid = [_corrected(word) for word in words]
    if words and words == valid and all(map(_WORD.fullmatch, words)):
        return words
    usable = " ".join(word for word in valid if _WORD.fullmatch(word))
    raise UsageError(
        f"{' '.join(name)!r} can't be a command's name: use words of lower-case letters, digits "
        "and single dashes, each starting with a letter",
        try_=f"python manage.py commands new {usable or 'report daily'}",
        code="bad-command-name",
    )


def _corrected(word: str) -> str:
    """Return the most similar valid word: `DailyReport.py` becomes `daily-report`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", word.removesuffix(".py"))
    return re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-0123456789")


def plan(
    root: Path,
    package: str,
    words: Sequence[str],
    registry: Registry,
    templates: tuple[Template, Template] = (COMMAND, TEST),
) -> list[NewFile]:
    """Return the files of a new command.

    Args:
        root: The project's root folder.
        package: The project's package of commands.
        words: The command's name.
        registry: The existing commands.
        templates: Of the command and of its test.

    Raises:
        CommandError: The name is taken, or a file exists.
    """
    _check_free(words, registry)
    name, parts = " ".join(words), [word.replace("-", "_") for word in words]
    folder, leaf = root.joinpath(*package.split(".")), parts[-1]
    texts = {"name": name, "leaf": leaf, "class_name": _class_name(words[-1])}
    tests = root / "tests" / "commands"
    tests = tests if tests.is_dir() else tests.parent
    files = [
        NewFile(folder.joinpath(*parts).with_suffix(".py"), templates[0].substitute(texts)),
        NewFile(tests / f"test_{'_'.join(parts)}.py", templates[1].substitute(texts)),
    ]
    for file in files:
        if file.path.exists():
            raise _taken(name, str(file.path.relative_to(root)))
    return [*_packages(folder, parts, words), *files]


def _packages(folder: Path, parts: Sequence[str], words: Sequence[str]) -> list[NewFile]:
    """Return the missing `__init__.py` files."""
    files = [NewFile(folder / "__init__.py", '"""The commands of this project."""\n')]
    for count in range(1, len(parts)):
        path = folder.joinpath(*parts[:count], "__init__.py")
        files.append(NewFile(path, f'"""Commands for the {" ".join(words[:count])}."""\n'))
    return [file for file in files if not file.path.exists()]


def _check_free(words: Sequence[str], registry: Registry) -> None:
    name = " ".join(words)
    for entry in registry.entries(with_summaries=False):
        if entry.name == name or name.startswith(f"{entry.name} "):
            raise _taken(entry.name, entry.file)
        if entry.name.startswith(f"{name} "):
            raise _taken(name, f"{entry.file}, which makes it a group")


def _taken(name: str, by: str) -> CommandError:
    return CommandError(
        f"{name!r} is already used by {by}",
        why="nothing was written",
        try_="choose another name",
        code="command-exists",
    )


def _class_name(word: str) -> str:
    name = "".join(part.capitalize() for part in word.split("-"))
    return f"{name}Command" if name in IMPORTED or keyword.iskeyword(name) else name


def write(files: Sequence[NewFile]) -> None:
    """Write new files, or none of them.

    Raises:
        CommandError: One exists, or can't be written.
    """
    made: list[Path] = []
    try:
        for file in files:
            missing = [one for one in file.path.parents if not one.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            with file.path.open("x", encoding="utf-8") as stream:
                made.append(file.path)
                stream.write(file.text)
    except OSError as exc:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        raise CommandError(
            file_problem(exc),
            why="nothing was written",
            try_=file_advice(exc),
            code="file-not-written",
        ) from exc
