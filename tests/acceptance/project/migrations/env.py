"""Alembic asks this file for the project's tables."""

from app.models import Base
from oneoff import run_env

run_env(Base.metadata)
