"""The application factory, as the Flask documentation writes it."""

import os
import pkgutil
from importlib import import_module

from flask import Flask
from flask_migrate import Migrate

import commands
from app.models import db


def create_app() -> Flask:
    app = Flask(__name__)
    url = os.environ.get("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    app.config["SQLALCHEMY_DATABASE_URI"] = url.replace("postgres://", "postgresql+psycopg://")
    db.init_app(app)
    Migrate(app, db)
    for module in pkgutil.iter_modules(commands.__path__):
        app.cli.add_command(import_module(f"commands.{module.name}").command)
    return app
