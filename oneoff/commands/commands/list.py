"""`commands list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, CommandError, Flag, Result

if TYPE_CHECKING:
    from oneoff.runtime.registry.entry import Entry
    from oneoff.runtime.registry.registry import Registry


class List(BaseCommand):
    """List all commands with their policy.

    The command classes declare the policy, so every module is imported. With --names, no module is
    imported.
    """

    access = Access.READ
    examples = ("commands list", "commands list --names", "commands list --json")

    names: bool = Flag(help="Show only the names, without importing modules.")

    def handle(self, registry: Registry) -> Result:
        if self.names:
            return Result.report([{"name": name} for name in registry.names()])
        return Result.report([_row(registry, entry) for entry in registry.entries()])


def _row(registry: Registry, entry: Entry) -> dict[str, Any]:
    row = {
        "name": entry.name,
        "summary": entry.summary,
        "access": "",
        "confirm": "",
        "dry_run": "",
        "package": entry.package,
        "file": entry.file,
    }
    try:
        command = registry.load(registry.find(entry.name.split())[0])
    except CommandError as exc:
        return row | {"summary": f"BROKEN {entry.broken or exc.message}"}
    return row | {
        "summary": command.summary(),
        "access": command.access.value,
        "confirm": command.confirm.name.lower().replace("_", "-"),
        "dry_run": command.dry_run.value,
    }
