"""The one table of the project."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    field_002: Mapped[int | None]
    field_003: Mapped[int | None]
    field_004: Mapped[int | None]
    field_005: Mapped[int | None]
    field_006: Mapped[int | None]
    field_007: Mapped[int | None]
    field_008: Mapped[int | None]
    field_009: Mapped[int | None]
    field_010: Mapped[int | None]
