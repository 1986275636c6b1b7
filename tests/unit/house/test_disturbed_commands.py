"""`make faults` disturbs every command, or says why it does not."""

from __future__ import annotations

from tests.support.moments.shipped import APP, NOT_TRIED, WORK
from tests.support.samples import SAMPLES


def test_every_command_is_disturbed_or_named_with_a_reason() -> None:
    """A new command needs a line in `samples.py`."""
    commands = {entry.alias_of or entry.name for entry in APP.registry.entries()}

    assert commands == set(SAMPLES)
    assert [] == [name for name, reason in NOT_TRIED.items() if not reason]
    assert set() == (NOT_TRIED.keys() | WORK.keys()) - commands
    assert set() == NOT_TRIED.keys() & WORK.keys()
