import click
from flask.cli import with_appcontext
from sqlalchemy import text

from app.models import db


@click.command("answer")
@with_appcontext
def command() -> None:
    """Ask the database for one number."""
    number = db.session.scalar(text("SELECT 1"))
    click.echo(f"the database answered {number}")
