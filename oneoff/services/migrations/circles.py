"""Find the foreign keys that can be created only after all new tables."""

from __future__ import annotations

from alembic.operations import ops
from sqlalchemy import ForeignKeyConstraint


def identity(key: ForeignKeyConstraint) -> tuple[str | None, str, str]:
    """Return what is the same for a key and its copies: Alembic renders copies."""
    return key.table.schema, key.table.name, ",".join(key.column_keys)


def late_keys(upgrade: ops.UpgradeOps, dialect: str) -> list[ForeignKeyConstraint]:
    """Return the foreign keys of new tables whose target is created later in the revision.

    Tables that refer to each other in a circle have such keys. SQLite accepts a key before its
    target exists, and has no ALTER TABLE to add one.
    """
    if dialect == "sqlite":
        return []
    created = [one for one in upgrade.ops if isinstance(one, ops.CreateTableOp)]
    order = {(one.schema, one.table_name): place for place, one in enumerate(created)}
    late = []
    for place, one in enumerate(created):
        for key in one.columns:
            if isinstance(key, ForeignKeyConstraint):
                target = key.referred_table
                later = order.get((target.schema, target.name), -1) > place
                # Alembic leaves a key with use_alter out of the CREATE TABLE, and forgets it.
                if later or key.use_alter:
                    late.append(key)
    return late
