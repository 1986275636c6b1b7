"""Plug-ins provide resources; two providers of one name are refused unless the project chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from oneoff import Project
from oneoff.core.errors import ConfigurationError
from oneoff.runtime.container import Container
from oneoff.runtime.plugins.entry_points import RESOURCES, EntryPoint
from oneoff.runtime.registry.checks import findings
from oneoff.runtime.registry.registry import Registry

HERE = f"{__name__}:open_it"
OTHER = f"{__name__}:open_other"


@asynccontextmanager
async def open_it() -> AsyncIterator[str]:
    """Provide a text."""
    yield "it"


@asynccontextmanager
async def open_other() -> AsyncIterator[str]:
    """Provide another text."""
    yield "other"


def point(name: str, value: str = HERE, distribution: str = "acme 1.0") -> EntryPoint:
    """Return the entry point of a provider."""
    return EntryPoint(RESOURCES, name, value, distribution)


async def get(name: str, *plugins: EntryPoint, **own: str) -> object:
    """Open a resource of a project with these plug-ins and providers of its own."""
    given = {
        "project": Project("shop", resources=own),
        "registry": Registry((), "", plugins=plugins),
        "run": "the run",
    }
    async with AsyncExitStack() as stack:
        return await Container.of_run(stack, given).get(name)


async def test_a_plug_in_provides_a_resource() -> None:
    """It is opened like one of the project."""
    assert "it" == await get("tracer", point("tracer"))


@pytest.mark.parametrize(
    ("name", "first"), [("cache", "oneoff"), ("run", "oneoff"), ("tracer", "the plug-in zeta 2.0")]
)
async def test_two_providers_of_one_name_are_refused(name: str, first: str) -> None:
    """A name of the framework counts too. The error names both, and how to choose."""
    others = () if first == "oneoff" else (point(name, OTHER, "zeta 2.0"),)

    with pytest.raises(ConfigurationError) as caught:
        await get(name, *others, point(name))

    expected = f"the resource {name!r} has two providers: {first} and the plug-in acme 1.0"
    assert expected == caught.value.message
    assert f'choose one: Project(..., resources={{"{name}": "{HERE}"}})' == caught.value.try_[0]


async def test_other_resources_are_not_affected() -> None:
    """Commands that do not ask for the name still run."""
    assert "it" == await get("mailer", point("cache"), point("mailer"))


async def test_the_project_chooses_between_two_providers() -> None:
    """Its own entry replaces those of plug-ins."""
    plugins = (point("tracer"), point("tracer", OTHER, "zeta 2.0"))

    assert "other" == await get("tracer", *plugins, tracer=OTHER)


def test_commands_check_finds_two_providers() -> None:
    """Also if no command asks for the resource."""
    plugins = (point("tracer"), point("tracer", OTHER, "zeta 2.0"))
    registry = Registry((), "", plugins=plugins)

    assert [
        (
            "",
            "the plug-in zeta 2.0",
            "the resource 'tracer' is also provided by the plug-in acme 1.0",
        )
    ] == list(findings(registry, Project("shop")))
