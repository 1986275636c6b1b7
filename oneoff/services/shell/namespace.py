"""The names that are ready in a shell."""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

from oneoff.config.project_settings import load_settings
from oneoff.core.project import load_object
from oneoff.services.shell.lazy_cache import CACHE

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run

_SQLALCHEMY = ("select", "insert", "update", "delete", "func", "text")


def ready_names(
    project: Project, config: Config, run: Run, session: AsyncSession, cache: object
) -> dict[str, Any]:
    """Return the namespace of a shell, the most useful names first.

    The project's own names win: it may well have a model called `text`.
    """
    import sqlalchemy

    names: dict[str, Any] = {"__builtins__": builtins, "session": session}
    names |= {name: getattr(sqlalchemy, name) for name in _SQLALCHEMY}
    names |= {"run": run, CACHE: cache}
    if project.settings:
        names["settings"] = load_settings(project, config)
    names |= _models(project)
    return names | {name: load_object(target) for name, target in project.shell.items()}


def _models(project: Project) -> dict[str, Any]:
    """Return the mapped classes of the module that `Project(metadata=...)` names."""
    if not project.metadata:
        return {}
    load_object(project.metadata)
    module = sys.modules[project.metadata.partition(":")[0]]
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and hasattr(value, "__mapper__")
    }
