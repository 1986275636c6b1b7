"""What help says about the effects of a command."""

from __future__ import annotations

import pytest

from oneoff import Access, BaseCommand, DryRun, Result
from oneoff.services.help import describe


class Create(BaseCommand):
    """Create a user."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK

    def handle(self) -> Result:
        return Result.changed("created")


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({"approvals": 1}, "approval needed in production: of a second person, or --break-glass"),
        ({"approvals": 2}, "approval needed in production: of 2 people, or --break-glass"),
        ({"approvals_needed": lambda *_: 1}, "some inputs need an approval"),
    ],
)
def test_the_page_says_that_an_approval_is_needed(members: dict[str, object], line: str) -> None:
    """So that nobody finds out in the refusal."""
    assert line in describe.policy(type("Approved", (Create,), members))
    assert not any("approval" in other for other in describe.policy(Create))
