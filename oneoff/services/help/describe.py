"""Describe what a command declares, for its help page and the command reference."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from oneoff.core.arguments import Field, Kind
from oneoff.core.conversion import duration_text, shape_of
from oneoff.core.options import may_need_approval, may_raise_confirmation, options_of
from oneoff.core.policy import Access, Confirm, DryRun
from oneoff.core.tokens import generate_spelling, stdin_spelling
from oneoff.runtime.container import GIVEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOption

MAX_METAVAR = 40
"""Characters. Longer choices are listed after the help text, to leave room for it."""

USED = {
    "session": "database",
    "work": "database",
    "database": "database",
    "migrations": "database",
    "batches": "database",
    "console": "database",
    "cache": "Redis",
    "announcement": "Redis",
    "backups": "database",
    "jobs": "job queue",
    "settings": "",
    "progress": "",
    "log": "",
}
"""What each resource of the framework uses outside the process; empty for nothing."""


def docstring(command: type[BaseCommand]) -> str:
    """Return the command's docstring without its indentation."""
    first, _, rest = (command.__doc__ or "").strip().partition("\n")
    return f"{first}\n{dedent(rest)}".strip()


def usage(name: str, command: type[BaseCommand]) -> str:
    """Return the usage line: `user promote USER ROLE [OPTIONS]`."""
    fields = command.fields().values()
    required = [field for field in fields if field.kind is Kind.OPTION and field.required]
    arguments = [field for field in fields if field.kind is Kind.ARGUMENT]
    words = [name, *map(_usage_of, arguments)]
    words += [f"{field.spelling} {metavar(field)}" for field in required]
    return " ".join([*words, "[OPTIONS]"])


def _usage_of(field: Field) -> str:
    text = field.spelling + ("..." if shape_of(field.annotation).many else "")
    return text if field.required else f"[{text}]"


def metavar(field: Field) -> str:
    """Return the word for an option's value: its choices, if they are short enough."""
    text = "|".join(field.choices) or shape_of(field.annotation).metavar
    return text if len(text) <= MAX_METAVAR else field.name.removesuffix("_").upper()


def inputs(command: type[BaseCommand]) -> dict[str, list[tuple[str, str]]]:
    """Return the command's own arguments and options with their meanings, by section."""
    fields = command.fields().values()
    sections = {
        "Arguments": [_argument(field) for field in fields if field.kind is Kind.ARGUMENT],
        "Options": [
            row for field in fields if field.kind is not Kind.ARGUMENT for row in _options(field)
        ],
    }
    return {title: rows for title, rows in sections.items() if rows}


def _argument(field: Field) -> tuple[str, str]:
    choices = ", ".join(field.choices or shape_of(field.annotation).choices)
    notes = [f"one of: {choices}" if choices else "", *_notes(field)]
    return _usage_of(field), _with_notes(field.help, notes)


def _options(field: Field) -> Iterator[tuple[str, str]]:
    if field.kind is Kind.SECRET:
        yield from _secret(field)
        return
    spelling = f"-{field.short}, {field.spelling}" if field.short else field.spelling
    if field.kind is Kind.OPTION:
        spelling = f"{spelling} {metavar(field)}"
    choices = field.choices or shape_of(field.annotation).choices
    is_short = "|".join(choices) in spelling
    notes = ["" if is_short else f"one of: {', '.join(choices)}", *_notes(field)]
    yield spelling, _with_notes(field.help, notes)


def _secret(field: Field) -> Iterator[tuple[str, str]]:
    asked = "or at a prompt" if field.required else "optional"
    notes = ["read from standard input", f"or from {field.env}", asked]
    yield stdin_spelling(field), _with_notes(field.help, ["; ".join(notes)])
    if field.generate:
        yield generate_spelling(field), "Generate one and show it once."


def _notes(field: Field) -> Iterator[str]:
    if field.kind is Kind.FLAG:
        return
    if field.required:
        if field.kind is Kind.OPTION:
            yield "required"
    elif field.default not in (None, "", [], ()):
        yield f"default: {_shown(field.default)}"
    if shape_of(field.annotation).many:
        yield "may be repeated"


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, timedelta):
        return duration_text(value)
    return str(value)


def _with_notes(text: str, notes: Any) -> str:
    joined = "; ".join(filter(None, notes))
    return f"{text} [{joined}]" if joined else text


def policy(command: type[BaseCommand]) -> list[str]:
    """Return lines about the effects of a command: what it changes, requires and uses."""
    lines = [
        "changes data" if command.access is Access.WRITE else "only reads; a write is an error",
        _confirmation(command),
        _approvals(command),
        _dry_run(command),
        _environments(command),
        f"holds the lock {command.lock!r}; a second run waits for it" if command.lock else "",
        _resources(command),
    ]
    return [line for line in lines if line]


def _confirmation(command: type[BaseCommand]) -> str:
    asks = {
        Confirm.NEVER: "",
        Confirm.PROMPT: "requires confirmation: at a prompt, or --confirm",
        Confirm.TYPE_NAME: "requires confirmation of the target: at a prompt, or --confirm=TARGET",
    }[command.confirm]
    if command.confirm is Confirm.TYPE_NAME or not may_raise_confirmation(command):
        return asks
    return f"{asks}; some inputs require the target" if asks else "some inputs require confirmation"


def _approvals(command: type[BaseCommand]) -> str:
    if command.approvals:
        people = "a second person" if command.approvals == 1 else f"{command.approvals} people"
        return f"approval needed in production: of {people}, or --break-glass"
    return "some inputs need an approval" if may_need_approval(command) else ""


def _dry_run(command: type[BaseCommand]) -> str:
    if command.dry_run is DryRun.UNSUPPORTED:
        return "has no dry run" if command.access is Access.WRITE else ""
    if command.dry_run_samples:
        return "--dry-run does a first batch, rolls it back and counts the remaining rows"
    if command.dry_run is DryRun.ROLLBACK:
        return "--dry-run runs the command, counts the rows and rolls back"
    return "--dry-run shows the plan and changes nothing"


def _environments(command: type[BaseCommand]) -> str:
    if command.environments:
        return f"runs only in: {', '.join(sorted(command.environments))} (or with --break-glass)"
    if command.confirm is Confirm.TYPE_NAME and not command.allow_in_production:
        return "is refused in production without --break-glass"
    return ""


def _resources(command: type[BaseCommand]) -> str:
    names = (name for name in command.resources() if name not in GIVEN)
    # A resource of the project is shown by its own name.
    used = dict.fromkeys(USED.get(name, name) for name in names)
    return f"uses: {shown}" if (shown := ", ".join(filter(None, used))) else ""


def global_options(command: type[BaseCommand]) -> list[tuple[str, str]]:
    """Return the command's global options (`-v, --verbose`) with their meanings."""
    return [(_global_option(option, command), option.help) for option in options_of(command)]


def _global_option(option: GlobalOption, command: type[BaseCommand]) -> str:
    short = f"-{option.short}, " if option.short else ""
    if option.is_flag:
        value = ""
    elif not option.equals_only:
        value = f" {option.metavar}"
    else:
        must_name = command.confirm is Confirm.TYPE_NAME
        value = f"={option.metavar}" if must_name else f"[={option.metavar}]"
    return f"{short}{option.spelling}{value}"
