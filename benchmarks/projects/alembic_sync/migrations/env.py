"""Alembic's own generic template, with the URL from the environment."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool

from app.models import Base

config = context.config
fileConfig(config.config_file_name)

url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://")
engine = create_engine(url, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
