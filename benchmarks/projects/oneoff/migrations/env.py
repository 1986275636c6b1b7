"""Run the migrations on the connection that oneoff opened."""

from oneoff import run_env

from app.models import Base

run_env(Base.metadata)
