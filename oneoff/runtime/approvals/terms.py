"""Describe what an approval is for: one command with these arguments, here, by this code.

Two runs have the same terms if an approval of one may start the other.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.arguments import Kind
from oneoff.core.errors import UsageError
from oneoff.utils.redaction import hides
from oneoff.utils.text import for_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.core.command import BaseCommand
    from oneoff.core.outcome import Call
    from oneoff.runtime.situation import Situation
    from oneoff.utils.redaction import Redactor

_STDIN = "-"


class Terms(NamedTuple):
    """What an approval is bound to, besides the plan and the time.

    Attributes:
        command: Full name of the command.
        arguments: JSON of its inputs by name, without its secrets. An input that is the path of a
            file has the hash of the content beside it.
        target: `<database>@<environment>`, as the operator would confirm it.
        environment: The effective environment.
        code_version: From `running_code`; empty if it is unknown.
    """

    command: str
    arguments: str
    target: str
    environment: str
    code_version: str

    def differences(self, run: Terms) -> list[str]:
        """Return how the terms of a run differ from these, which were approved.

        A version of the code that is unknown may be another one each time.
        """
        return [
            f"{name.replace('_', ' ')} {here or 'unknown'}, approved: {approved or 'unknown'}"
            for name, approved, here in zip(self._fields, self, run, strict=True)
            if approved != here or (name == "code_version" and not here)
        ]


def terms_of(call: Call, situation: Situation, *, code_version: str, redactor: Redactor) -> Terms:
    """Return the terms of a run.

    Args:
        call: The command and its options.
        situation: Where it is about to run.
        code_version: From `running_code`.
        redactor: Knows the secrets of the process.

    Raises:
        UsageError: An argument can't be bound: it is a secret, or standard input.
    """
    return Terms(
        command=call.name,
        arguments=arguments_of(call.command, call.options.waive, redactor),
        target=situation.target,
        environment=situation.environment,
        code_version=code_version,
    )


def arguments_of(command: BaseCommand, waived: Mapping[str, str], redactor: Redactor) -> str:
    """Return the inputs as JSON, in one way only. Secrets that the command declares are left out.

    The checks that the run waives, with the reasons, are a part of it.

    Raises:
        UsageError: Another input looks like a secret, or is standard input.
    """
    fields = [field for field in type(command).fields().values() if field.kind is not Kind.SECRET]
    values = {field.name: _plain(getattr(command, field.name)) for field in fields}
    masked = redactor.data(values)
    for field in fields:
        value = values[field.name]
        if hides(field.name, value) or masked[field.name] != value:
            raise UsageError(
                f"{field.spelling} looks like a secret, and an approval would store it",
                try_=f"declare {field.name} with Secret in {type(command).__name__}",
            )
        if field.kind is not Kind.FLAG and value == _STDIN:
            raise UsageError(
                "what comes from standard input can't be approved",
                try_=f"give a file as {field.spelling}",
            )
    contents = {text: digest for text in _texts(values) if (digest := _content(text))}
    bound = [values, contents, *([redactor.data(waived)] if waived else [])]
    return json.dumps(bound, sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a value of JSON, as the value is written on the command line."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(for_json(value))


def _texts(values: dict[str, Any]) -> list[str]:
    found = [item for value in values.values() for item in (_as_list(value))]
    return [item for item in found if isinstance(item, str)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _content(text: str) -> str:
    """Return the hash of a file's content; empty if the text is not the path of a file."""
    try:
        if not Path(text).is_file():
            return ""
        with open(text, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: the text contains NUL
        return ""
