"""A project whose commands need approvals, on the tables of the reference project."""

from __future__ import annotations

from pathlib import Path

from oneoff import Project

ROOT = Path(__file__).parents[2]
NAME = "tests.support.approval_project:project"

project = Project("shop", commands=("tests.support.approval_commands",))
