"""Retention rules for `data cleanup`: which rows are deleted after which time."""

from __future__ import annotations

from app.models import ApiKey, Event, Session
from oneoff import Retention, framework_rules

RULES = (
    Retention(
        name="events",
        help="Events such as sign-ins and new roles, kept to investigate incidents.",
        age=Event.at,
        days=90,
        minimum_days=30,
    ),
    Retention(
        name="sessions",
        help="Expired sign-ins, which no longer work.",
        age=Session.expires_at,
        days=7,
    ),
    # A revoked key is kept until then too, so that its last use can be investigated.
    Retention(
        name="api-keys",
        help="Expired API keys, kept so that their owners can look them up.",
        age=ApiKey.expires_at,
        days=90,
        minimum_days=30,
    ),
    *framework_rules(),
)
