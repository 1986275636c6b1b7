"""Check the declarations of commands for errors that a class can't find when it is defined."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from oneoff.core.arguments import Field, Kind
from oneoff.core.command import RESERVED
from oneoff.core.conversion import shape_of
from oneoff.core.errors import CommandError
from oneoff.core.options import OPTIONS
from oneoff.core.parsing import parse
from oneoff.core.tokens import generate_spelling, stdin_spelling
from oneoff.runtime.container import known_names
from oneoff.runtime.plugins.resources import conflicts_of, resources_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from oneoff.core.command import BaseCommand
    from oneoff.core.project import Project
    from oneoff.runtime.registry.entry import Entry
    from oneoff.runtime.registry.registry import Registry

SHELL_SIGNS = frozenset({"|", "<", ">", ">>", "<<", "&&", ";"})
"""Words that end the command line of an example; the shell reads the text after them."""


def findings(registry: Registry, project: Project) -> Iterator[tuple[str, str, str]]:
    """Yield all problems of a project's commands: name of the command, file, problem.

    Every module is imported. One that fails doesn't hide the problems of the others.
    """
    known = known_names(resources_of(project, registry.plugins))
    for where, problem in registry.problems():
        yield "", where, problem
    for name, sources in conflicts_of(project, registry.plugins, known_names({})).items():
        yield "", sources[-1], f"the resource {name!r} is also provided by {sources[0]}"
    for entry in registry.entries():
        for problem in entry_problems(registry, entry, known):
            yield entry.name, entry.file, problem


def entry_problems(registry: Registry, entry: Entry, known: Collection[str]) -> Iterator[str]:
    """Yield the problems of one command."""
    try:
        found, _ = registry.find(entry.name.split())
        command = registry.load(found)
        fields = list(command.fields().values())
    except (CommandError, TypeError) as exc:
        yield str(exc)
        return
    yield from _resource_problems(command, known)
    yield from _field_problems(fields)
    yield from _example_problems(registry, entry, command)


def _resource_problems(command: type[BaseCommand], known: Collection[str]) -> Iterator[str]:
    for name in command.resources():
        if name not in known:
            yield (
                f"handle asks for {name!r}, which has no provider; known: "
                f"{', '.join(sorted(known))}"
            )


def _field_problems(fields: Sequence[Field]) -> Iterator[str]:
    arguments = [field for field in fields if field.kind is Kind.ARGUMENT]
    for before, after in pairwise(arguments):
        if shape_of(before.annotation).many:
            yield f"{before.spelling} takes all remaining words, so {after.spelling} never gets any"
        elif after.required and not before.required:
            yield f"{after.spelling} is required but comes after {before.spelling}, which is not"
    yield from _spelling_problems(fields)


def _spelling_problems(fields: Sequence[Field]) -> Iterator[str]:
    taken = {f"-{option.short}": "every command" for option in OPTIONS if option.short}
    taken |= {"--" + name.replace("_", "-"): "every command" for name in RESERVED}
    for field in fields:
        for spelling in _spellings(field):
            if spelling in taken:
                yield f"{field.name} is spelled {spelling}, which {taken[spelling]} already uses"
            taken[spelling] = field.name


def _spellings(field: Field) -> Iterator[str]:
    if field.kind is Kind.ARGUMENT:
        return
    yield field.spelling
    if field.short:
        yield f"-{field.short}"
    if field.kind is Kind.SECRET:
        yield from (stdin_spelling(field), generate_spelling(field))


def _example_problems(
    registry: Registry, entry: Entry, command: type[BaseCommand]
) -> Iterator[str]:
    if not command.examples:
        yield 'has no example; declare one: examples = ("' + entry.name + '",)'
    for example in command.examples:
        try:
            words = _words(example)
            found, rest = registry.find(words)
            if registry.load(found) is not command:
                yield f"example {example!r} runs {found.name}"
            else:
                parse(command, rest, found.name)
        except (CommandError, ValueError) as exc:
            yield f"example {example!r}: {exc}"


def _words(example: str) -> list[str]:
    words = shlex.split(example)
    end = next((at for at, word in enumerate(words) if word in SHELL_SIGNS), len(words))
    return words[:end]
