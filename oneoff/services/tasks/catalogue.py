"""Read the catalogue of admin tasks from the classes of the commands and transforms."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import CommandError, UsageError
from oneoff.core.task import Task
from oneoff.services.transforms import run as transforms
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.core.project import Project
    from oneoff.runtime.registry.registry import Registry


class Entry(NamedTuple):
    """One admin task.

    Attributes:
        task: What is declared.
        command: The class that declares it.
        name: The name of the command, which its runs are recorded with: "data transform".
        words: The words after the name that choose the task: ("fill-locale",) of a transform.
        file: Where it is declared.
    """

    task: Task
    command: type[BaseCommand]
    name: str
    words: tuple[str, ...]
    file: str

    @property
    def line(self) -> str:
        """The exact command line, without `python manage.py`."""
        if self.task.command:
            return self.task.command
        chosen = " ".join([self.name, *self.words])
        if self.words:
            return chosen
        real = (one for one in self.command.examples if "--dry-run" not in one.split())
        return next(real, chosen)


class Catalogue(NamedTuple):
    """All admin tasks of a project, in the order of their numbers.

    Attributes:
        entries: The tasks.
        broken: Files that can't be imported; their tasks are not known.
    """

    entries: Sequence[Entry]
    broken: Sequence[str]

    @property
    def warnings(self) -> list[str]:
        """What may be missing."""
        return [f"{file} can't be imported, so its task is not known" for file in self.broken]

    def find(self, task_id: str) -> Entry:
        """Return the task with this id, in any case.

        Raises:
            UsageError: No task has it.
        """
        wanted = task_id.lower()
        found = next((one for one in self.entries if one.task.id.lower() == wanted), None)
        if found is None:
            near = similar(task_id, [one.task.id for one in self.entries])
            raise UsageError(
                f"there is no admin task {task_id!r}"
                + (f"; did you mean {near[0]}?" if near else ""),
                try_=f"python manage.py task {f'show {near[0]}' if near else 'list'}",
                code="unknown-admin-task",
            )
        return found


def ids(registry: Registry, project: Project) -> list[str]:
    """Return the numbers of all admin tasks."""
    return [entry.task.id for entry in read_catalogue(registry, project).entries]


def read_catalogue(registry: Registry, project: Project) -> Catalogue:
    """Import all commands and transforms, and return those that are admin tasks."""
    entries: list[Entry] = []
    broken: list[str] = []
    for listed in registry.entries():
        if listed.alias_of:
            continue
        try:
            command = registry.load(registry.find(listed.name.split())[0])
        except CommandError:
            broken.append(listed.file)
            continue
        if isinstance(command.task, Task):
            entries.append(Entry(command.task, command, listed.name, (), listed.file))
    try:
        entries += _transforms(project) if project.transforms else ()
    except CommandError:
        broken.append(project.transforms)
    return Catalogue(sorted(entries, key=lambda one: one.task.id), broken)


def _transforms(project: Project) -> Iterator[Entry]:
    for one in transforms.all_transforms(project):
        file = one.__module__.replace(".", "/") + ".py"
        if isinstance(one.task, Task):
            yield Entry(one.task, one, transforms.COMMAND, (one.name,), file)
        if one.revert and isinstance(one.revert.task, Task):
            words = (one.name, "--revert")
            yield Entry(one.revert.task, one.revert, transforms.COMMAND, words, file)


def undoing(catalogue: Catalogue, registry: Registry, entry: Entry) -> Entry | None:
    """Return the task that a task's rollback runs; None if it runs none of the catalogue."""
    try:
        found, rest = registry.find(shlex.split(entry.task.rollback))
        name = registry.name_of(registry.load(found))
    except (CommandError, ValueError):  # which `commands check` reports
        return None
    chosen = (one for one in catalogue.entries if one.name == name and chosen_by(one.words, rest))
    return next(chosen, None)


def chosen_by(chosen: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether the words of a command line choose a task."""
    if not chosen:
        return True
    return set(chosen) <= set(words) and ("--revert" in chosen) == ("--revert" in words)
