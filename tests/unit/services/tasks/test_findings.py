"""The findings of `commands check` about admin tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oneoff import Access, Project
from oneoff.core.policy import DryRun
from oneoff.runtime.application import Application, load_application
from oneoff.runtime.registry.registry import Registry
from oneoff.services.tasks.findings import findings
from tests.support.command_package import Package

ROOT = Path(__file__).resolve().parents[4]
HEAD = """
from dataclasses import replace

from oneoff import Access, BaseCommand, Confirm, DryRun, Result, Task
from tests.support.admin_tasks import COMPLETE

async def is_right(session) -> None:
    \"\"\"Check that it is right.\"\"\"

async def undocumented(session) -> None: ...

async def greedy(cash) -> None:
    \"\"\"Check the cash.\"\"\"

def plain(session) -> None:
    \"\"\"Check nothing.\"\"\"
"""
COMMAND = '''

class Fill(BaseCommand):
    """{purpose}"""

    access = Access.{access}
    dry_run = DryRun.{dry_run}
    examples = ("fill",)
    task = replace(COMPLETE, **dict({fields}))

    async def handle(self) -> Result:
        return Result.unchanged("written")
'''
CheckFields = Callable[..., list[str]]


@pytest.fixture
def check(command_package: Package) -> CheckFields:
    """Return a function that declares a command with these fields, and returns the findings."""

    def check_fields(fields: str, *, access: str = "WRITE", purpose: str = "Fill it.") -> list[str]:
        dry_run = "ROLLBACK" if access == Access.WRITE.name else DryRun.UNSUPPORTED.name
        text = COMMAND.format(fields=fields, access=access, dry_run=dry_run, purpose=purpose)
        command_package.write(fill=HEAD + text)
        registry = Registry(("oneoff.commands", "ninth"), command_package.root)
        found = findings(registry, Project("shop"))
        return [problem.removeprefix("ADM-900: ") for _, _, problem in found]

    return check_fields


def test_a_complete_task_has_no_finding(check: CheckFields) -> None:
    """With all fields that its category needs."""
    assert [] == check("verify=is_right")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("", "a task of the category data-fix also declares verify"),
        (
            "verify=is_right, owner='', data={}",
            "a task of the category data-fix also declares owner, data",
        ),
        (
            "verify=is_right, category='cleanup'",
            (
                "category 'cleanup' is not one of migration, data-fix, maintenance, emergency, "
                "analytics, backup"
            ),
        ),
        ("verify=is_right, created='soon'", "created 'soon' is not a date like 2026-01-31"),
        ("verify=is_right, owner='TODO'", "owner is only a placeholder: 'TODO'"),
        ("verify=is_right, owner='...'", "owner is only a placeholder: '...'"),
        ("verify=is_right, owner='tbd'", "owner is only a placeholder: 'tbd'"),
        ("verify=is_right, owner='todo: ask'", "owner is only a placeholder: 'todo: ask'"),
        ("verify=is_right, owner='<team>'", "owner is only a placeholder: '<team>'"),
        ("verify=is_right, services=('n/a',)", "services is only a placeholder: 'n/a'"),
        ("verify=is_right, data={'users': '?'}", "data is only a placeholder: '?'"),
        (
            "verify=is_right, irreversible=''",
            "writes, so it declares rollback, or irreversible with the reason",
        ),
        (
            "verify=is_right, rollback='fill'",
            "declares both rollback and irreversible; declare the one that is true",
        ),
        (
            "verify=is_right, irreversible='', rollback='empty it'",
            "its rollback 'empty it': 'empty' is not a command",
        ),
        (
            "verify=is_right, irreversible='', rollback='fill --all'",
            "its rollback 'fill --all': fill has no option --all",
        ),
        (
            "verify=is_right, command='fill 3'",
            "its command 'fill 3': unexpected argument '3'",
        ),
        (
            "verify=is_right, checks=('backup-complete',)",
            (
                "there is no check 'backup-complete'; built-in checks are backup-completed, "
                "staging-run-successful, maintenance-window, on-call-notified"
            ),
        ),
        ("verify=greedy", "greedy asks for 'cash', which has no provider; known: "),
        ("verify=plain", "plain is not declared by async def"),
        (
            "verify=undocumented",
            "undocumented has no docstring, which is shown on the page of the task",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(check: CheckFields, fields: str, problem: str) -> None:
    """One finding for each problem."""
    found = check(fields)

    assert 1 == len(found), found
    assert problem in found[0]


def test_texts_that_begin_like_a_placeholder_are_none(check: CheckFields) -> None:
    """Only a text that says nothing is one."""
    fields = "verify=is_right, approval='none before; Security reviews it', owner='Todo App'"

    assert [] == check(fields)


def test_the_purpose_is_on_the_page_too(check: CheckFields) -> None:
    """It is the docstring of the class."""
    assert [
        "its purpose, the docstring of the class, is only a placeholder: 'TODO: say it'"
    ] == check("verify=is_right", purpose="TODO: say it")


@pytest.mark.parametrize(
    ("rollback", "found"),
    [
        ("", []),
        (", rollback='fill'", ["only reads, so it has neither rollback nor irreversible"]),
    ],
)
def test_a_reading_task_has_no_rollback(
    check: CheckFields, rollback: str, found: list[str]
) -> None:
    """There is nothing to undo."""
    assert found == check(f"category='analytics', irreversible=''{rollback}", access="READ")


@pytest.mark.parametrize(
    ("rollback", "found"),
    [
        ("fill", []),
        ("commands list", ["its rollback 'commands list' is no admin task with verify"]),
    ],
)
def test_the_rollback_of_a_data_fix_is_verified_too(
    check: CheckFields, rollback: str, found: list[str]
) -> None:
    """So it is an admin task with `verify`."""
    assert found == check(f"irreversible='', rollback='{rollback}', verify=is_right")


def test_an_id_is_unique_and_has_the_usual_form(command_package: Package) -> None:
    """Otherwise two pages would have one name."""
    one = HEAD + COMMAND.format(
        fields="verify=is_right", access="WRITE", dry_run="ROLLBACK", purpose="Fill it."
    )
    command_package.write(
        fill=one,
        again=one.replace('"fill"', '"again"'),
        odd=one.replace("is_right))", "is_right, id='ADM-9'))").replace('"fill"', '"odd"'),
    )

    assert [
        ("again", "ADM-900: ADM-900 is the id of several tasks"),
        ("fill", "ADM-900: ADM-900 is the id of several tasks"),
        ("odd", "ADM-9: the id 'ADM-9' is not like ADM-001 or ADM-001-revert"),
    ] == sorted(
        (name, problem)
        for name, _, problem in findings(command_package.registry(), Project("shop"))
    )


def test_a_project_declares_the_tasks_of_commands_that_exist() -> None:
    """By their names, not by their aliases."""
    project = Project("shop", tasks={"migrate": "app.admin_tasks:MIGRATE"})
    app = Application(project, str(ROOT), {})

    assert [
        ("migrate", "Project(tasks=...) names 'migrate', which is not the name of a command")
    ] == [(name, problem) for name, _, problem in findings(app.registry, project)]


def test_the_task_of_a_built_in_command_belongs_to_one_project() -> None:
    """Another project in the same process has the command without it."""
    shop = load_application("app.project:project", str(ROOT), {}).registry
    other = Application(Project("other", commands=()), str(ROOT), {}).registry
    entry, _ = shop.find(["migrate"])

    assert [("ADM-001", "db migrate"), (None, "db migrate")] == [
        (command.task and command.task.id, registry.name_of(command))
        for registry in (shop, other)
        for command in [registry.load(entry)]
    ]
    assert shop.load(entry) is shop.load(entry)
