"""The table of the test project."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base of all models."""


class Item(Base):
    """A thing with a name."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)


class Tick(Base):
    """A row of `deed batch`; the tests that need the table create it."""

    __tablename__ = "tick"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]
