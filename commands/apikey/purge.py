"""`apikey purge`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from oneoff import BatchCommand, Option

if TYPE_CHECKING:
    from sqlalchemy import Delete


class Purge(BatchCommand):
    """Delete API keys that expired long ago.

    Keys that were revoked stay until then: who used them can still be looked up.
    """

    examples = ("apikey purge --dry-run", "apikey purge --older-than 365d --confirm")
    batch_size = 5_000
    range_column = "expires_at"

    older_than: timedelta = Option(
        default=timedelta(days=90), help="Only keys that expired so long ago: 90d."
    )

    def consequence(self) -> str:
        return f"deletes API keys that expired {self.older_than.days} days ago from {{target}}"

    def change(self) -> Delete:
        """Delete by the time of expiry, which is indexed."""
        from sqlalchemy import delete

        from app.models import ApiKey

        return delete(ApiKey).where(ApiKey.expires_at < datetime.now(UTC) - self.older_than)
