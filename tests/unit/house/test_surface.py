"""The interface of scripts and operators: commands, options, error codes, exit codes, JSON keys.

`surface.txt` contains it, without help texts. A change of the file is a change for users, so it
belongs in CHANGELOG. To generate the file: `python tests/unit/house/test_surface.py`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from oneoff.cli.render import render_json
from oneoff.core.arguments import Field, Kind
from oneoff.core.command import BaseCommand
from oneoff.core.conversion import shape_of
from oneoff.core.errors import CommandError, ExitCode
from oneoff.core.options import options_of
from oneoff.core.outcome import Outcome
from oneoff.runtime.registry.registry import Registry
from oneoff.utils.redaction import Redactor

ROOT = Path(__file__).resolve().parents[3]
FILE = Path(__file__).with_name("surface.txt")
PACKAGES = ("oneoff", "app", "commands")
POLICY = (
    "access confirm dry_run lock confirm_only_protected aims_at environments allow_in_production "
    "creates_schema accepts_problems approvals approval_tolerance allow_agents"
).split()


def test_the_user_interface_has_not_changed() -> None:
    """All commands of the framework and the reference project, and all that scripts read."""
    assert FILE.read_text(encoding="utf-8").splitlines() == list(_lines())


def _lines() -> Iterator[str]:
    """Yield the surface, one fact per line."""
    registry = Registry.of_project(("commands",), str(ROOT))
    for entry in sorted(registry.entries(), key=lambda entry: entry.name):
        command = registry.load(registry.find(entry.name.split())[0])
        yield f"command {entry.name}: {_policy(command)}"
        yield from (f"command {entry.name}: {_input(x)}" for x in command.fields().values())
        spellings = " ".join(option.spelling for option in options_of(command))
        yield f"command {entry.name}: {spellings}"
    yield from (f"error code {code}" for code in sorted(set(_error_codes())))
    yield from (f"exit code {code.name} {int(code)}" for code in ExitCode)
    for error in (None, CommandError("x")):
        envelope = json.loads(render_json(Outcome(command="x", error=error), Redactor({})))
        yield f"json keys: {' '.join(envelope)}"
        yield f"json keys of error: {' '.join(envelope.get('error', ()))}"


def _policy(command: type[BaseCommand]) -> str:
    facts = {name: getattr(command, name) for name in POLICY}
    return " ".join(f"{name}={_plain(value)}" for name, value in facts.items() if value)


def _input(field: Field) -> str:
    shape = None if field.kind is Kind.SECRET else shape_of(field.annotation)
    facts = {
        "short": field.short,
        "type": shape and shape.metavar,
        "many": shape and shape.many,
        "choices": ",".join(field.choices or (shape.choices if shape else ())),
        "required": field.required,
        "default": "" if field.required else _plain(field.default),
        "env": field.env,
    }
    shown = (f"{name}={value}" for name, value in facts.items() if value not in {None, "", False})
    return " ".join([field.spelling, field.kind.value, *shown])


def _plain(value: Any) -> str:
    if isinstance(value, frozenset | list | tuple):
        return ",".join(sorted(map(_plain, value)))
    return value.name if isinstance(value, Enum) else str(value)


def _error_codes() -> Iterator[str]:
    """Yield the values of `code`: of arguments to errors, and of attributes of error classes."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = None
            if isinstance(node, ast.keyword) and node.arg == "code":
                value = node.value
            if isinstance(node, ast.Assign) and "code" in {ast.unparse(n) for n in node.targets}:
                value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in _lines()), encoding="utf-8")
