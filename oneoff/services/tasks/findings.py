"""Check the declarations of admin tasks: what is missing, wrong, or only a placeholder."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.core.parsing import parse
from oneoff.core.policy import Access
from oneoff.core.task import CATEGORIES, ID, NEEDED, Task, meaning_of, name_of
from oneoff.runtime.container import known_names, parameters
from oneoff.runtime.plugins.resources import resources_of
from oneoff.runtime.task_checks import resolve
from oneoff.runtime.task_evidence import BUILT_IN
from oneoff.services.tasks.catalogue import Catalogue, Entry, read_catalogue, undoing

if TYPE_CHECKING:
    from oneoff.core.project import Project
    from oneoff.runtime.registry.registry import Registry

PLACEHOLDER = re.compile(
    r"\W*|<[^>]*>|(?i:n/?a|none|unknown|change ?me|to ?do|tbd|tba|fixme|xxx)\W*"
    r"|(?i:to ?do|tbd|fixme)\b *[:;,(].*|.*\b(?:TODO|TBD|FIXME|XXX)\b.*",
    re.DOTALL,
)
"""A text that only stands for one: "TODO: the owner", "...", "tbd", "<owner>"."""

FOR_CHECKS = ("command",)
FOR_VERIFY = ("command", "result")
"""What the functions of a task may ask for besides resources."""


def findings(registry: Registry, project: Project) -> Iterator[tuple[str, str, str]]:
    """Yield all problems of the catalogue: name of the command, file, problem."""
    catalogue = read_catalogue(registry, project)
    known = known_names(resources_of(project, registry.plugins))
    counts = Counter(entry.task.id for entry in catalogue.entries)
    names = {entry.name for entry in registry.entries() if not entry.alias_of}
    for name in sorted(project.tasks.keys() - names):
        yield name, "", f"Project(tasks=...) names {name!r}, which is not the name of a command"
    if project.transforms in catalogue.broken:
        yield "data transform", project.transforms, "the transforms can't be loaded"
    for entry in catalogue.entries:
        task = entry.task
        twice = [f"{task.id} is the id of several tasks"] if counts[task.id] > 1 else []
        problems = [
            *twice,
            *_field_problems(entry),
            *_line_problems(entry, registry),
            *_rollback_problems(entry, catalogue, registry),
            *_function_problems(task, known),
        ]
        yield from ((entry.name, entry.file, f"{task.id}: {problem}") for problem in problems)


def _field_problems(entry: Entry) -> Iterator[str]:
    task = entry.task
    if not ID.fullmatch(task.id):
        yield f"the id {task.id!r} is not like ADM-001 or ADM-001-revert"
    if task.category not in CATEGORIES:
        yield f"category {task.category!r} is not one of {', '.join(CATEGORIES)}"
        return
    missing = [name for name in NEEDED[task.category] if not getattr(task, name)]
    if missing:
        yield f"a task of the category {task.category} also declares {', '.join(missing)}"
    for name, text in _texts(task):
        if PLACEHOLDER.fullmatch(text.strip()):
            yield f"{name} is only a placeholder: {text!r}"
    purpose = (entry.command.__doc__ or "").strip()
    if PLACEHOLDER.fullmatch(purpose):
        yield f"its purpose, the docstring of the class, is only a placeholder: {purpose!r}"
    if task.created and not _is_date(task.created):
        yield f"created {task.created!r} is not a date like 2026-01-31"


def _texts(task: Task) -> Iterator[tuple[str, str]]:
    """Yield the texts that are given, with the names of their fields."""
    for name, value in vars(task).items():
        if isinstance(value, str) and value:
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((name, text) for pair in value.items() for text in pair)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from ((name, text) for text in value if isinstance(text, str))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _line_problems(entry: Entry, registry: Registry) -> Iterator[str]:
    """Yield the problem of the exact command line, if it does not run this task."""
    try:
        found, words = registry.find(shlex.split(entry.line))
        command = registry.load(found)
        parse(command, words, found.name)
    except (CommandError, ValueError) as exc:
        yield f"its command {entry.line!r}: {exc}"
        return
    if registry.name_of(command) != entry.name or not set(entry.words) <= set(words):
        yield f"its command {entry.line!r} does not run it, but {found.name}"


def _rollback_problems(entry: Entry, catalogue: Catalogue, registry: Registry) -> Iterator[str]:
    task = entry.task
    if task.rollback and task.irreversible:
        yield "declares both rollback and irreversible; declare the one that is true"
    elif entry.command.access is Access.READ:
        if task.rollback or task.irreversible:
            yield "only reads, so it has neither rollback nor irreversible"
    elif not task.rollback and not task.irreversible:
        yield "writes, so it declares rollback, or irreversible with the reason"
    if not task.rollback:
        return
    try:
        found, words = registry.find(shlex.split(task.rollback))
        parse(registry.load(found), words, found.name)
    except (CommandError, ValueError) as exc:
        yield f"its rollback {task.rollback!r}: {exc}"
        return
    revert = undoing(catalogue, registry, entry)
    if "verify" in NEEDED.get(task.category, ()) and (revert is None or revert.task.verify is None):
        yield f"its rollback {task.rollback!r} is no admin task with verify"


def _function_problems(task: Task, known: frozenset[str]) -> Iterator[str]:
    for name, declared in task.checks_by_name().items():
        function = resolve(declared)
        if function is None:
            yield f"there is no check {name!r}; built-in checks are {', '.join(BUILT_IN)}"
        else:
            yield from _signature_problems(function, known.union(FOR_CHECKS))
    if task.verify is not None:
        yield from _signature_problems(task.verify, known.union(FOR_VERIFY))


def _signature_problems(function: Any, known: frozenset[str]) -> Iterator[str]:
    code = getattr(function, "__code__", None)
    if code is None or not code.co_flags & _COROUTINE:
        yield f"{getattr(function, '__name__', function)!s} is not declared by async def"
        return
    if not (meaning := meaning_of(function)):
        yield f"{name_of(function)} has no docstring, which is shown on the page of the task"
    elif PLACEHOLDER.fullmatch(meaning):
        yield f"the docstring of {name_of(function)} is only a placeholder: {meaning!r}"
    for name in parameters(function):
        if name not in known:
            yield (
                f"{name_of(function)} asks for {name!r}, which has no provider; known: "
                f"{', '.join(sorted(known))}"
            )


_COROUTINE = 0x80  # inspect.CO_COROUTINE
