"""Run the migrations on the connection that oneoff opened."""

from app.models import Base
from oneoff import run_env

run_env(Base.metadata)
