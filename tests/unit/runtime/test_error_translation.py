"""The error of a run that was stopped half way tells whether its work was kept."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest
import sqlalchemy.exc  # noqa: F401 - an error can come from a database only if this is loaded

from oneoff.core.errors import ConfigurationError, DataError
from oneoff.runtime.error_translation import explain

EXCEPTIONS = [asyncio.CancelledError(), TimeoutError(), RuntimeError("bug")]


@pytest.mark.parametrize("exc", EXCEPTIONS)
def test_the_error_says_that_the_work_was_rolled_back(exc: BaseException) -> None:
    """The work was done in a transaction."""
    assert "its work was rolled back" in explain(exc).why


@pytest.mark.parametrize("exc", EXCEPTIONS)
def test_the_error_says_that_other_work_was_kept(exc: BaseException) -> None:
    """For example, keys that were removed from Redis can't be restored."""
    why = explain(exc, undone=False).why

    assert "rolled back" not in why
    assert "its work before that was kept; run the same command again to do the rest" in why


@pytest.mark.parametrize(
    "exc",
    [
        asyncpg.ConnectionDoesNotExistError("lost"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.StringDataRightTruncationError("too long"),
        asyncpg.UniqueViolationError("twice"),
        asyncpg.RaiseError("raised"),
        asyncpg.InterfaceError("bug"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "surrogate"),
    ],
)
def test_an_error_of_the_database_tells_what_the_run_has_saved(exc: BaseException) -> None:
    """A batch, or a command that commits itself, has saved what it did before."""
    assert explain(exc).why.endswith("nothing was written")
    assert explain(exc, undone=False).why.endswith("what the run committed before that is saved")


def test_a_timeout_of_the_command_is_not_the_deadline_of_the_run() -> None:
    """Exit code 75 would make a scheduler run it again."""
    codes = [explain(TimeoutError(), deadline_passed=passed).code for passed in (False, True)]

    assert ["unexpected-error", "deadline-reached"] == codes


def test_an_error_after_the_deadline_is_a_consequence_of_it() -> None:
    """A driver may raise any error while it is cancelled."""
    assert "deadline-reached" == explain(OSError("closed"), deadline_passed=True).code


def test_text_that_a_driver_cannot_encode_is_bad_data() -> None:
    """Redis's driver encodes each text that is sent, and does not wrap the error."""
    with pytest.raises(UnicodeEncodeError) as caught:
        "\udcff".encode()

    assert "unstorable-text" == explain(caught.value).code


def test_a_bug_names_its_line() -> None:
    """Also if a library raised the error; then it is the line that called the library."""
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")

    line = caught.traceback[0].lineno + 1
    place = f"tests/unit/runtime/test_error_translation.py:{line}; its work was rolled back"
    assert explain(caught.value).why.endswith(place)


def test_a_project_that_needs_a_missing_package_of_the_framework_says_how_to_install_it() -> None:
    """The virtual environment is probably not active."""
    broken = ConfigurationError("'app.models:Base' can't be imported", code="project-broken")
    broken.__cause__ = ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    assert "missing-dependency" == explain(broken).code


@pytest.mark.parametrize(
    ("package", "installs"),
    [
        ("aiosqlite", "'oneoff[sqlite]'"),
        ("arq", "'oneoff[arq]'"),
        ("asyncpg", "'oneoff[postgres]'"),
        ("redis", "'oneoff[redis]'"),
        ("structlog", "structlog"),
    ],
)
def test_a_missing_package_names_the_extra_that_installs_it(package: str, installs: str) -> None:
    """The extra knows which versions work."""
    error = explain(ModuleNotFoundError(f"No module named {package!r}", name=package))

    assert f"or install it: pip install {installs}" == error.try_[-1]


class ValidationError(Exception):
    """An error of an application. Many packages have a class with this name."""

    def __init__(self) -> None:
        super().__init__("the order has no lines")
        self.errors = ["no lines"]


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise AttributeError("detail")


def test_an_error_is_pydantics_only_if_its_class_is() -> None:
    """An application's own ValidationError has its own `errors`, and its message is shown."""
    assert "ValidationError: the order has no lines" == explain(ValidationError()).message


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_data_that_pydantic_1_refuses_is_bad_input() -> None:
    """`pydantic.v1` is part of pydantic 2. Its errors take no options."""
    v1 = pytest.importorskip("pydantic.v1")
    model = v1.create_model("Order", amount=(int, ...))

    with pytest.raises(v1.ValidationError) as raised:
        model(amount="hunter22")
    error = explain(raised.value)

    assert isinstance(error, DataError)
    assert "ValidationError: amount: value is not a valid integer" == error.message


def test_an_error_without_a_readable_message_is_explained_by_its_class() -> None:
    """The application's `__str__` may fail, and a run raises nothing."""
    declared = f"{__name__}:_Unprintable"

    assert "_Unprintable" == explain(_Unprintable()).message
    assert "_Unprintable" == explain(_Unprintable(), own=(declared,)).message
