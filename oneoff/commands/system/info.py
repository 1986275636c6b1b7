"""`system info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, ConfigurationError, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry

PACKAGES = (
    "oneoff",
    "sqlalchemy",
    "alembic",
    "asyncpg",
    "aiosqlite",
    "structlog",
    "pydantic-settings",
    "redis",
    "arq",
)


class Info(BaseCommand):
    """Show versions, environment, database and operator.

    It contacts no service. The environment is the one from the settings. If the database stores a
    stricter one, runs on that database use the stricter one.
    """

    access = Access.READ
    examples = ("system info", "system info --json")

    def handle(self, config: Config, registry: Registry, run: Run) -> Result:
        import platform

        from oneoff.config.operator_identity import code_version

        return Result.report(
            {
                "project": config.project.name,
                "root": str(config.root),
                "environment": run.environment,
                "environment_from": _why(config),
                "database": _database(config),
                "operator": run.operator.name,
                "operator_from": run.operator.source,
                "code_version": code_version(config.environ, config.root) or None,
                "python": platform.python_version(),
                "platform": platform.platform(),
                **_versions(),
                "plugins": _plugins(registry),
            }
        )


def _why(config: Config) -> str:
    if config.environment_assumed:
        return config.environment_assumed
    if config.environment:
        return f"{config.variable('ENVIRONMENT')} ({config.source('ENVIRONMENT')})"
    return "nothing is set: the embedded SQLite file counts as development"


def _database(config: Config) -> str:

    try:
        return config.database().safe()
    except ConfigurationError as exc:
        return exc.message


def _versions() -> dict[str, Any]:
    """Return the versions of the packages in `PACKAGES` that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    import oneoff

    found: dict[str, Any] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"oneoff": oneoff.__version__, **found}


def _plugins(registry: Registry) -> list[str]:
    """Return the installed plug-ins; listeners that oneoff itself includes are none."""
    names = {one.distribution for one in registry.plugins}
    return sorted(name for name in names if name.partition(" ")[0] != "oneoff")
