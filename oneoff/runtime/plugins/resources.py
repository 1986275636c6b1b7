"""Find the providers of resources: those of the project, and those of plug-ins."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError
from oneoff.runtime.plugins.entry_points import RESOURCES, EntryPoint

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from oneoff.core.project import Project


def resources_of(project: Project, plugins: Sequence[EntryPoint]) -> dict[str, str]:
    """Return the import strings of all providers by name; the project's own come first."""
    installed = {one.name: one.value for one in plugins if one.group == RESOURCES}
    return installed | project.resources


def conflicts_of(
    project: Project, plugins: Sequence[EntryPoint], framework: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return who provides a resource that several provide, unless the project decides.

    Args:
        project: Its own resources replace all others.
        plugins: The entry points of the plug-ins.
        framework: The names of the framework's own resources.
    """
    sources: dict[str, list[str]] = {}
    for one in plugins:
        if one.group == RESOURCES and one.name not in project.resources:
            whose = ["oneoff"] if one.name in framework else []
            sources.setdefault(one.name, whose).append(f"the plug-in {one.distribution}")
    return {name: tuple(whose) for name, whose in sources.items() if len(whose) > 1}


def conflict(name: str, sources: Sequence[str], providers: Mapping[str, str]) -> ConfigurationError:
    """Return the error for a resource that several provide."""
    return ConfigurationError(
        f"the resource {name!r} has two providers: {' and '.join(sources)}",
        why="only the project can decide which of them its commands get",
        try_=(
            f'choose one: Project(..., resources={{"{name}": "{providers[name]}"}})',
            f"or uninstall {sources[-1]}",
        ),
        code="resource-collision",
    )
