"""The declaration of a transform, and the choice of a transform by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from oneoff import BatchCommand, CommandError, Flag, Project, Transform
from oneoff.services.transforms.run import choose_transform, line_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Revert(BatchCommand):
    """Clear the locale again."""

    def select(self) -> object:
        """Return no select."""
        return None

    async def process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class Work(Transform):
    """Process no row."""

    def select(self) -> object:
        """Return no select."""
        return None

    async def process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class FillLocale(Work):
    """Fill the locale."""

    name = "fill-locale"
    revert = Revert


class Forget(Work):
    """Clear a column permanently."""

    name = "forget"


TRANSFORMS = (FillLocale, Forget)
project = Project("shop", transforms=f"{__name__}:TRANSFORMS")


def test_a_transform_has_no_inputs_of_its_own() -> None:
    """`data transform` could not set them."""
    with pytest.raises(TypeError, match="no inputs of its own, so not loud"):

        class Loud(Transform):
            """Shout."""

            name = "loud"
            loud: bool = Flag(help="Shout.")


@pytest.mark.parametrize(("name", "revert"), [("fill-locale", True), ("forget", False)])
def test_a_transform_is_found_by_its_name(name: str, *, revert: bool) -> None:
    """The command line that runs it is the name of its batch."""
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
def test_an_unknown_or_irreversible_transform_is_refused(
    name: str, *, revert: bool, code: str
) -> None:
    """Exit code 2, with advice."""
    with pytest.raises(CommandError) as refused:
        choose_transform(project, name, revert=revert)

    assert (code, 2) == (refused.value.code, int(refused.value.exit_code))
    assert refused.value.try_


def test_two_transforms_with_the_same_name_are_refused() -> None:
    """An operator who types the name would run one of them by chance."""
    with pytest.raises(CommandError, match="two transforms are named fill-locale"):
        choose_transform(
            Project("shop", transforms=f"{__name__}:TWICE"), "fill-locale", revert=False
        )


TWICE = (FillLocale, FillLocale)
