"""What a transform declares, and which of a project's transforms a name means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from oneoff import BatchCommand, CommandError, Flag, Project, Transform
from oneoff.services.transforms.run import choose_transform, line_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Revert(BatchCommand):
    """Empty the locale again."""

    def select(self) -> object:
        """Return nothing to do."""
        return None

    async def process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class Work(Transform):
    """Work on no row."""

    def select(self) -> object:
        """Return nothing to do."""
        return None

    async def process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class FillLocale(Work):
    """Fill the locale."""

    name = "fill-locale"
    revert = Revert


class Forget(Work):
    """Forget a column for good."""

    name = "forget"


TRANSFORMS = (FillLocale, Forget)
project = Project("shop", transforms=f"{__name__}:TRANSFORMS")


def test_a_transform_has_no_inputs_of_its_own() -> None:
    """It would be a flag that nobody can give."""
    with pytest.raises(TypeError, match="no inputs of its own, so not loud"):

        class Loud(Transform):
            """Shout."""

            name = "loud"
            loud: bool = Flag(help="Shout.")


@pytest.mark.parametrize(("name", "revert"), [("fill-locale", True), ("forget", False)])
def test_a_name_means_one_transform(name: str, *, revert: bool) -> None:
    """The line that runs it is the one its batch is known by."""
    chosen = choose_transform(project, name, revert=revert)

    expected = "data transform fill-locale --revert" if revert else "data transform forget"
    assert expected == line_of(chosen, revert=revert)


@pytest.mark.parametrize(
    ("name", "revert", "code"),
    [
        ("fill-locales", False, "unknown-transform"),
        ("forget", True, "not-revertible"),
    ],
)
def test_what_cannot_be_run_is_refused(name: str, *, revert: bool, code: str) -> None:
    """Exit code 2, and how to go on."""
    with pytest.raises(CommandError) as refused:
        choose_transform(project, name, revert=revert)

    assert (code, 2) == (refused.value.code, int(refused.value.exit_code))
    assert refused.value.try_


def test_two_transforms_of_one_name_are_refused() -> None:
    """Whoever types the name would get one of them by chance."""
    with pytest.raises(CommandError, match="two transforms are named fill-locale"):
        choose_transform(
            Project("shop", transforms=f"{__name__}:TWICE"), "fill-locale", revert=False
        )


TWICE = (FillLocale, FillLocale)
