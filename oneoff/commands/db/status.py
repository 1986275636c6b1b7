"""`db status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.services.migrations.resource import Migrations


class Status(BaseCommand):
    """Show which revisions are applied, and whether the models differ."""

    access = Access.READ
    examples = ("db status", "db status --json")

    async def handle(self, migrations: Migrations) -> Result:
        from oneoff.services.migrations.phases import read_phases

        history = migrations.history
        current = await migrations.current()
        history.check_known(current)
        pending = {step.revision.revision for step in history.upward("heads", current)}
        failing = await migrations.failed_checks()
        phases = read_phases(history)
        times = await migrations.applied_at()
        rows = [
            {
                "revision": revision.id,
                "message": revision.message,
                "phase": phases[revision.id],
                "state": "pending" if revision.id in pending else "applied",
                # `db stamp` and Alembic's own commands leave the time of a revision.
                "applied_at": None if revision.id in pending else times.get(revision.id),
            }
            for revision in history.all()
        ]
        unchecked = "while revisions are pending" if pending else ""
        if not pending and not await migrations.has_models():
            unchecked = "because env.py has no target_metadata"
        differences = () if unchecked else (await migrations.difference()).operations
        facts = [
            f"at {', '.join(current) or 'no revision'}",
            f"heads: {', '.join(history.heads) or 'none'}",
            f"{len(pending)} pending",
            _drift(unchecked, differences),
            f"lock held by {holder}" if (holder := await migrations.lock_holder()) else "lock free",
        ]
        drift = [f"drift: {operation}" for operation in differences]
        warnings = [*failing, *drift, *history.warnings()]
        shown = rows if any(phases.values()) else [_without_phase(row) for row in rows]
        return Result.report(rows, "; ".join(facts), warnings=warnings, table=shown)


def _without_phase(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "phase"}


def _drift(unchecked: str, differences: Any) -> str:
    if unchecked:
        return f"drift not checked {unchecked}"
    if differences:
        from oneoff.utils.text import counted

        return f"drift: {counted(len(differences), 'difference')} from the models"
    from oneoff.services.migrations.autogenerate import NOT_COMPARED

    return f"no drift (not compared: {NOT_COMPARED})"
