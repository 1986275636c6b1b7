"""A project whose commands need approvals, on the tables of the reference project."""

from __future__ import annotations

from pathlib import Path

from oneoff import Project
from oneoff.core.run import Operator

ROOT = Path(__file__).parents[2]
NAME = "tests.support.approval_project:project"

project = Project(
    "shop",
    commands=("tests.support.approval_commands",),
    approvers="tests.support.approval_project:may_approve",
)


def may_approve(operator: Operator, command: str) -> bool:
    """Let everybody approve `wipe`, except Eve."""
    return (operator.name, command) != ("eve", "wipe")
