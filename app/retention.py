"""What the application does not keep for ever, for `data cleanup`."""

from __future__ import annotations

from app.models import ApiKey, Event, Session
from oneoff import Retention, framework_rules

RULES = (
    Retention(
        name="events",
        help="Who signed in, whose role changed: long enough to look into an incident.",
        age=Event.at,
        days=90,
        minimum_days=30,
    ),
    Retention(
        name="sessions",
        help="Sign-ins that have expired; nobody can use them any more.",
        age=Session.expires_at,
        days=7,
    ),
    # A key that was revoked stays until then too: who used it can still be looked up.
    Retention(
        name="api-keys",
        help="API keys that have expired, after their owners had time to wonder.",
        age=ApiKey.expires_at,
        days=90,
        minimum_days=30,
    ),
    *framework_rules(),
)
