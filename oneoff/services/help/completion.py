"""Complete command lines: find the candidates for a word, and write the scripts for three shells.

At each press of the tab key, a script calls `manage.py completion candidates -- WORDS`. Names of
commands come from names of files. Completing options and choices imports one command. Only names
such as those of users need the database.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oneoff.core.command import BaseCommand
    from oneoff.runtime.registry.registry import Registry

    Names = Callable[[str, str], Sequence[str]]

SHELLS = ("bash", "zsh", "fish")
HELP = "help"


def candidates(
    registry: Registry, words: Sequence[str], names: Names = lambda _function, _prefix: ()
) -> list[str]:
    """Return the words that can complete the last word, sorted.

    Args:
        registry: The commands.
        words: The words after `manage.py` up to the cursor; the last one may be empty.
        names: Returns the names that the function of an input knows, by what was typed of one.
    """
    # bash splits `--role=ad` into three words; after `--role=` the third is missing.
    *before, current = [*words, ""] if words[-1:] in ([], ["="]) else words
    found = _possible(registry, list(before), current, names)
    return sorted({word for word in found if word.startswith(current)})


def _possible(
    registry: Registry, before: list[str], current: str, names_of: Names
) -> Iterable[str]:
    while before and before[0].startswith("-"):
        del before[0]
    if before[:1] == [HELP]:
        return registry.children(before[1:])
    names = registry.children(before)
    if current.startswith("-") and (names or not before):
        from oneoff.core.options import leading_flags

        return leading_flags()
    if names or not before:
        return [*names, *([] if before else [HELP])]
    return _after_name(registry, before, current, names_of)


def _after_name(registry: Registry, before: list[str], current: str, names: Names) -> Iterable[str]:
    from oneoff.core.errors import CommandError

    try:
        entry, rest = registry.find(before)
        command = registry.load(entry)
    except CommandError:
        return []  # unknown or broken; running the line reports the error
    return _inputs(command, rest, current, names)


def _inputs(
    command: type[BaseCommand], before: list[str], current: str, names: Names
) -> Iterable[str]:
    from oneoff.core.tokens import Takes, options_by_spelling, tokens

    table = options_by_spelling(command)
    takes = {spelling: spec.takes for spelling, spec in table.items()}
    last = next((word for word in reversed(before) if word != "="), "")
    if takes.get(last) is Takes.VALUE:
        return _values(command, table[last].name, current, names)
    if current.startswith("-") and "=" in current:
        spelling, _, typed = current.partition("=")
        name = table[spelling].name if spelling in table else ""
        return [f"{spelling}={choice}" for choice in _values(command, name, typed, names)]
    if current.startswith("-") and "--" not in before:
        return [spelling for spelling, spec in table.items() if not spec.is_secret]
    given = sum(not token.spelling for token in tokens(before, takes))
    return _values(command, _argument_at(command, given), current, names)


def _argument_at(command: type[BaseCommand], position: int) -> str:
    """Return the name of the argument at a position; empty if there is none."""
    from oneoff.core.arguments import Kind
    from oneoff.core.conversion import shape_of

    fields = [field for field in command.fields().values() if field.kind is Kind.ARGUMENT]
    if position < len(fields):
        return fields[position].name
    return fields[-1].name if fields and shape_of(fields[-1].annotation).many else ""


def _values(command: type[BaseCommand], name: str, typed: str, names: Names) -> Sequence[str]:
    from oneoff.core.conversion import shape_of
    from oneoff.core.options import AS, FORMS

    if name == AS:
        return FORMS
    field = command.fields().get(name)
    if field is None:
        return ()
    choices = field.choices or shape_of(field.annotation).choices
    return choices or (names(field.complete, typed) if field.complete else ())


def script(shell: str, program: str = "manage.py") -> str:
    """Return the script with which a shell completes `program` and `python program`.

    Args:
        shell: One of `SHELLS`.
        program: File name of the program.
    """
    from oneoff.services.help.completion_scripts import SCRIPTS

    return SCRIPTS[shell].replace("@PROGRAM@", program)
