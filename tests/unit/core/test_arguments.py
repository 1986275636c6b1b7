"""The inputs that a command declares, and the declarations that are refused."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from oneoff import (
    Access,
    Argument,
    BaseCommand,
    Confirm,
    DryRun,
    Flag,
    Option,
    Result,
    Secret,
    SecretStr,
    UsageError,
)
from oneoff.core.arguments import Kind, SecretSource

NOTHING: dict[str, Any] = {}
"""Inputs given as a mapping: what a type checker would rightly refuse is tested here."""


class Color(Enum):
    """A choice."""

    RED = "red"


class Paint(BaseCommand):
    """Paint something.

    In any colour.
    """

    what: str = Argument(help="What to paint.")
    color: Color = Option(default=Color.RED, help="In which colour.")
    layers: list[int] = Option(default=[], help="How thick.")
    limit: int | None = Option(default=None, help="How many at most.")
    finish: str = Option(default="matt", help="Which finish.", choices=("matt", "gloss"))
    dry_first: bool = Flag(help="Wait before.")

    async def handle(self, log: object) -> Result:
        return Result.unchanged("painted")


def test_inputs_are_in_the_order_of_declaration() -> None:
    """Their spellings come from the attribute names."""
    fields = Paint.fields()

    assert ["WHAT", "--color", "--layers", "--limit", "--finish", "--dry-first"] == [
        field.spelling for field in fields.values()
    ]
    assert Kind.FLAG is fields["dry_first"].kind


def test_a_command_can_be_created_in_code() -> None:
    """Values have the declared type, or are texts as on the command line."""
    command = Paint(
        **NOTHING | {"what": "a wall", "color": "red", "layers": ["1", 2], "limit": "5"}
    )

    assert (Color.RED, [1, 2], 5) == (command.color, command.layers, command.limit)


def test_all_wrong_values_are_reported_together() -> None:
    """Also for values given in code."""
    with pytest.raises(UsageError) as caught:
        Paint(**NOTHING | {"color": "blue", "finish": "wet", "limit": True, "taste": "sweet"})

    assert {
        "Paint has no input 'taste'",
        "WHAT is missing: What to paint",
        "--color 'blue' is not one of red",
        "--finish 'wet' is not one of matt, gloss",
        "--limit 'True' is not a whole number",
    } == set(caught.value.problems)


def test_a_default_list_is_not_shared() -> None:
    """Each command gets a new list."""
    first, second = Paint(what="a", dry_first=False), Paint(what="b", dry_first=False)

    first.layers.append(1)

    assert [] == second.layers


def test_inputs_are_inherited() -> None:
    """Those of the base class are first."""

    class Spray(Paint):
        """Spray something."""

        can: Path = Option(default=Path("can"), help="With which can.")

    assert ["what", "can"] == [next(iter(Spray.fields())), list(Spray.fields())[-1]]


def test_no_text_form_contains_the_secret() -> None:
    """Neither repr nor an f-string does."""
    secret = SecretStr("hunter2")

    assert "hunter2" not in f"{secret} {secret!r}"
    assert "hunter2" == secret.reveal()


def test_a_secret_that_is_not_given_is_read_later() -> None:
    """From the environment or a prompt, also if it is optional."""

    class Login(BaseCommand):
        """Log in."""

        password: SecretStr = Secret(help="Yours.", env="PASSWORD")
        token: SecretStr | None = Secret(help="Yours.", env="TOKEN", default=None)

        async def handle(self) -> Result:
            return Result.unchanged("in")

    command = Login(**NOTHING)

    assert [SecretSource.NOT_GIVEN] * 2 == [command.password, command.token]
    assert SecretStr("hunter2") == Login(password=SecretStr("hunter2"), token=None).password


def test_resources_are_the_parameters_of_handle() -> None:
    """Except self."""
    assert ("log",) == Paint.resources()


def test_the_summary_is_the_first_line_of_the_docstring() -> None:
    """Help shows it."""
    assert "Paint something." == Paint.summary()


def test_a_writing_command_must_declare_dry_run() -> None:
    """Defining the class raises an error."""
    with pytest.raises(TypeError, match="must declare dry_run"):

        class Careless(BaseCommand):
            """Write."""

            access = Access.WRITE

            async def handle(self) -> Result:
                return Result.changed("x")


def test_a_reading_command_must_not_declare_dry_run() -> None:
    """It has nothing to preview."""
    with pytest.raises(TypeError, match="declares dry_run but only reads"):

        class Confused(BaseCommand):
            """Read."""

            dry_run = DryRun.PLAN

            async def handle(self) -> Result:
                return Result.unchanged("x")


def test_a_reading_command_must_not_require_a_target() -> None:
    """Typing a target protects from writes."""
    with pytest.raises(TypeError, match=r"declares Confirm\.TYPE_NAME but only reads"):

        class Confused(BaseCommand):
            """Read."""

            confirm = Confirm.TYPE_NAME

            async def handle(self) -> Result:
                return Result.unchanged("x")


def test_an_input_must_not_have_the_name_of_a_global_option() -> None:
    """`--json` has the same meaning for every command."""

    class Hiding(BaseCommand):
        """Read."""

        json: bool = Flag(help="Mine.")

    with pytest.raises(TypeError, match="every command already has 'json'"):
        Hiding.fields()


def test_an_input_needs_a_type_annotation() -> None:
    """It determines how to parse the value."""

    class Untyped(BaseCommand):
        """Read."""

        thing = Argument(help="Mine.")  # pyright: ignore[reportGeneralTypeIssues]

    with pytest.raises(TypeError, match="needs a type annotation"):
        Untyped.fields()
