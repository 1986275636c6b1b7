"""Arguments of a task are checked before anything is queued."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from oneoff import UsageError
from oneoff.services.jobs.signature import arguments_of
from tests.support.arq_shop import Colour, add, paint, weigh


async def everything(  # type: ignore[no-untyped-def]  # noqa: D103
    _ctx: Any,
    *,
    flag: bool,
    when: datetime,
    pause: timedelta,
    price: Decimal,
    ref: UUID,
    note: str | None,
    anything: Any,
    bare,  # noqa: ANN001 - as users may write it
) -> None: ...


async def takes_any(_ctx: Any, first: int, **rest: str) -> None:  # noqa: D103
    ...


def given(task: Any, *pairs: str, json: str = "") -> dict[str, Any]:
    """Return the arguments of one call."""
    return arguments_of("task", task, pairs, json)


def problems(task: Any, *pairs: str, json: str = "") -> list[str]:
    """Return what is wrong with a call."""
    with pytest.raises(UsageError) as caught:
        given(task, *pairs, json=json)
    return list(caught.value.problems)


def test_values_are_converted_to_the_annotated_types() -> None:
    """Like the inputs of a command."""
    pairs = {
        "flag": "yes",
        "when": "2026-01-31T09:30:00Z",
        "pause": "1h30m",
        "price": "1.50",
        "ref": "00000000-0000-0000-0000-000000000007",
        "note": "a=b",
        "anything": "3",
        "bare": "3",
    }

    assert {
        "flag": True,
        "when": datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        "pause": timedelta(hours=1, minutes=30),
        "price": Decimal("1.50"),
        "ref": UUID(int=7),
        "note": "a=b",
        "anything": "3",
        "bare": "3",
    } == given(everything, *(f"{name}={text}" for name, text in pairs.items()))


def test_lists_and_dicts_are_given_as_json() -> None:
    """Their items are checked too."""
    assert {"colour": Colour.RED, "sizes": [1, 2]} == given(paint, "colour=red", "sizes=[1, 2]")
    assert {"weights": {"nail": 1.5}} == given(weigh, 'weights={"nail": 1.5}')
    assert ["sizes 'a' is not JSON, as its type list[int] | None requires"] == problems(
        paint, "colour=red", "sizes=a"
    )
    assert ["sizes 'two' is not a whole number"] == problems(
        paint, "colour=red", 'sizes=[1, "two"]'
    )
    assert ["weights.nail: input should be a valid number, unable to parse string as a number"] == (
        problems(weigh, 'weights={"nail": "heavy"}')
    )


def test_json_arguments_are_checked_and_converted() -> None:
    """Strings are converted if the annotation is another type."""
    arguments = given(paint, json='{"colour": "blue", "day": "2026-01-31", "sizes": null}')

    assert {"colour": Colour.BLUE, "day": date(2026, 1, 31), "sizes": None} == arguments
    assert ["left true is not a whole number"] == problems(add, json='{"left": true}')
    assert ["left null is not a whole number"] == problems(add, json='{"left": null}')


def test_all_problems_are_reported_together() -> None:
    """Wrong names, wrong values and missing arguments."""
    assert [
        "'left' is not name=value",
        "right 'x' is not a whole number",
        "there is no argument 'lef'; did you mean left?",
        "right is given twice",
        "the argument left is missing",
    ] == problems(add, "left", "right=x", "lef=1", json='{"right": 2}')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "--args-json is not JSON: "),
        ("[1]", '--args-json is not an object such as {"user_id": 3}'),
        ("[" * 100_000, "--args-json is not JSON: "),
    ],
)
def test_invalid_json_is_an_error(text: str, problem: str) -> None:
    """JSON that is nested too deeply as well."""
    assert problems(add, "left=1", json=text)[0].startswith(problem)


def test_a_task_with_keyword_arguments_accepts_any_name() -> None:
    """Values are strings, or values from JSON."""
    assert {"first": 1, "colour": "red"} == given(takes_any, "first=1", "colour=red")


def test_the_error_shows_the_signature() -> None:
    """With the declared types and defaults."""
    with pytest.raises(UsageError) as caught:
        given(add)

    assert ("task(left: int, right: int = 1)",) == caught.value.try_
