"""The commands of a plug-in appear as the project's own do, and never replace others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oneoff.core.errors import ConfigurationError
from oneoff.runtime.registry.registry import Registry
from tests.support.plugin import installed_plugin

COMMAND = '''
from oneoff import BaseCommand, Result


class Report(BaseCommand):
    """Write a report."""

    examples = ("report",)

    async def handle(self) -> Result:
        return Result.unchanged("written")
'''
OVERRIDING = COMMAND.replace("    examples", "    overrides = True\n    examples")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a plug-in with commands: `install("acme", report=TEXT)`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as stack:

        def install_plugin(name: str, **commands: str) -> None:
            files = {f"{name}/cmds/{path}.py": text for path, text in commands.items()}
            group = f"[oneoff.commands]\n{name} = {name}.cmds\n"
            stack.enter_context(installed_plugin(tmp_path / name, group, files, name=name))

        yield install_plugin


def test_a_command_of_a_plug_in_is_found_and_listed(install: Install, tmp_path: Path) -> None:
    """By its path in the package that the entry point names."""
    install("acme", report=COMMAND)

    registry = Registry.of_project((), str(tmp_path))

    assert "Report" == registry.load(registry.find(["report"])[0]).__name__
    listed = {entry.name: entry for entry in registry.entries()}["report"]
    assert ("Write a report.", "acme 1.0", "") == (listed.summary, listed.plugin, listed.broken)


@pytest.mark.parametrize("text", [COMMAND, OVERRIDING])
def test_a_plug_in_can_not_replace_a_command_of_another(
    install: Install, tmp_path: Path, text: str
) -> None:
    """Which of them would win depends on the import path; the error names both."""
    install("zeta", report=text)
    install("acme", report=text)
    registry = Registry.of_project((), str(tmp_path))

    with pytest.raises(ConfigurationError) as caught:
        registry.find(["report"])

    both = (
        "acme/cmds/report.py of the plug-in acme 1.0",
        "zeta/cmds/report.py of the plug-in zeta 1.0",
    )
    assert f"two commands are named 'report': {' and '.join(both)}" == caught.value.message
    assert "command-collision" == caught.value.code
    listed = {entry.name: entry for entry in registry.entries()}["report"]
    assert f"{both[1]}: {both[0]} has this name too" == listed.broken


def test_a_plug_in_can_not_replace_a_built_in_command(install: Install, tmp_path: Path) -> None:
    """An installed package must not decide what `migrate` does."""
    install("acme", migrate=OVERRIDING)

    with pytest.raises(ConfigurationError, match=r"migrate\.py and acme/cmds/migrate\.py of the"):
        Registry.of_project((), str(tmp_path)).find(["migrate"])


def test_the_project_chooses_between_two_commands(install: Install, tmp_path: Path) -> None:
    """Its own command with `overrides = True` replaces those of both plug-ins."""
    install("zeta", report=COMMAND)
    install("acme", report=COMMAND)
    with installed_plugin(tmp_path / "own", "", {"mine/report.py": OVERRIDING}):
        registry = Registry.of_project(("mine",), str(tmp_path))

        entry = registry.find(["report"])[0]

        assert ("mine/report.py", "") == (entry.file, entry.plugin)
        assert registry.load(entry).overrides
        assert not {one.name: one for one in registry.entries()}["report"].broken
