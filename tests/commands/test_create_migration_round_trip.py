"""What `db create-migration` writes can be applied, undone, and applied again."""

from __future__ import annotations

import re

from tests.support.model_files import change_and_undo
from tests.support.shop import Shop

CAT = """
class Mood(enum.Enum):
    {values}
class Cat(Base):
    __tablename__ = "cats"
    id = mapped_column(sa.Integer, primary_key=True)
    {columns}
"""
MOOD = "mood = mapped_column(sa.Enum(Mood))"
TABLE = """
class Thing(Base):
    __tablename__ = "things"
    __table_args__ = ({arguments})
    id = mapped_column(sa.Integer, primary_key=True)
    a = mapped_column(sa.Integer)
    name = mapped_column(sa.String(40))
    {columns}
"""
OTHER = """
class Other(Base):
    __tablename__ = "others"
    id = mapped_column(sa.Integer, primary_key=True)
"""


def cats(values: str = "calm = 1; wild = 2", columns: str = "") -> str:
    """Return a model with an enum beside it."""
    return CAT.format(values=values, columns=columns)


def things(columns: str = "", arguments: str = "") -> str:
    """Return a model with columns and arguments of the table."""
    return TABLE.format(columns=columns, arguments=arguments)


PAIRS = {
    "a table with an enum": (OTHER, OTHER + cats(columns=MOOD)),
    "a column with a new enum": (cats(), cats(columns=MOOD)),
    "a column with an enum is dropped": (cats(columns=MOOD), cats()),
    "an array of an enum": (
        cats(columns="moods = mapped_column(sa.JSON().with_variant(pg.JSONB(), 'postgresql'))"),
        cats(columns=MOOD),
    ),
    "a generated column beside a dropped one": (
        things(
            "twice = mapped_column(sa.Integer, sa.Computed('a * 2', persisted=True)); b = "
            "mapped_column(sa.Integer)"
        ),
        things("twice = mapped_column(sa.Integer, sa.Computed('a * 2', persisted=True))"),
    ),
    "a default with a colon": (
        things(
            """o = mapped_column(sa.JSON, server_default='{"mail":true}'); b = mapped_column("""
            "sa.Integer)"
        ),
        things("""o = mapped_column(sa.JSON, server_default='{"mail":true}')"""),
    ),
    "a dropped default with a colon": (
        things("""o = mapped_column(sa.JSON, server_default='{"mail":true}')"""),
        things(),
    ),
    "a default with a quote": (
        things(),
        things("""b = mapped_column(sa.String, server_default="it's'")"""),
    ),
    "a check with a colon": (
        things(arguments="""sa.CheckConstraint("name <> ' \\\\:x'", name='ck_x'),"""),
        things(),
    ),
    "a type of a type": (
        OTHER,
        OTHER + things("j = mapped_column(sa.JSON().with_variant(pg.JSONB(), 'postgresql'))"),
    ),
    "a changed default": (
        things("b = mapped_column(sa.Integer, server_default='1')"),
        things("b = mapped_column(sa.Integer, server_default='2')"),
    ),
    "a removed default": (
        things("b = mapped_column(sa.Integer, server_default='1')"),
        things("b = mapped_column(sa.Integer)"),
    ),
    "another expression of a generated column": (
        things("twice = mapped_column(sa.Integer, sa.Computed('a * 2', persisted=True))"),
        things("twice = mapped_column(sa.Integer, sa.Computed('a * 3', persisted=True))"),
    ),
    "a length": (
        things("b = mapped_column(sa.String())"),
        things("b = mapped_column(sa.String(80))"),
    ),
    "a column that joins the primary key": (
        things("b = mapped_column(sa.String(20), nullable=False)"),
        things("b = mapped_column(sa.String(20), primary_key=True)"),
    ),
    "a unique column": (
        things("b = mapped_column(sa.Integer)"),
        things("b = mapped_column(sa.Integer, unique=True)"),
    ),
    "a foreign key": (
        OTHER + things("b = mapped_column(sa.Integer)"),
        OTHER + things("b = mapped_column(sa.Integer, sa.ForeignKey('others.id'))"),
    ),
    "a foreign key that is removed": (
        OTHER + things("b = mapped_column(sa.Integer, sa.ForeignKey('others.id'))"),
        OTHER + things("b = mapped_column(sa.Integer)"),
    ),
    "tables in a circle": (
        OTHER,
        OTHER
        + """
class Left(Base):
    __tablename__ = "lefts"
    id = mapped_column(sa.Integer, primary_key=True)
    right = mapped_column(sa.Integer, sa.ForeignKey("rights.id"))
class Right(Base):
    __tablename__ = "rights"
    id = mapped_column(sa.Integer, primary_key=True)
    left = mapped_column(sa.Integer, sa.ForeignKey("lefts.id"))
""",
    ),
    "an index on an expression": (
        things(),
        things(arguments="sa.Index('uq_low', sa.text('lower(name)'), unique=True),"),
    ),
    "an index on an expression that is removed": (
        things(arguments="sa.Index('uq_low', sa.text('lower(name)'), unique=True),"),
        things(),
    ),
    "another check": (
        things(arguments="sa.CheckConstraint('a > 0', name='ck_a'),"),
        things(arguments="sa.CheckConstraint('a > 1', name='ck_a'),"),
    ),
}


NAME = re.compile(
    r"\b(Cat|Mood|Thing|Other|Left|Right|(cat|thing|other|left|right)s)\b|\b(ck|uq)_(?=[a-z])"
)
"""Names of classes, tables and constraints, which must differ between the pairs."""


def numbered(models: str, number: int) -> str:
    """Return models with other names, so that many can be in one file."""
    return NAME.sub(rf"\g<0>{number}_", models)


async def test_changes_can_be_applied_and_undone(shop: Shop) -> None:
    """Afterwards the models and the database agree, and a rollback restores the schema.

    All pairs are in one revision: the time is that of Alembic, and not that of the changes.
    """
    pairs = list(enumerate(PAIRS.items()))
    old = "".join(numbered(old, number) for number, (_, (old, _)) in pairs)
    new = "".join(numbered(new, number) for number, (_, (_, new)) in pairs)

    before, after = await change_and_undo(shop, old, new)

    lines = " ".join(before ^ after)
    assert [] == [title for number, (title, _) in pairs if f"s{number}_" not in lines]
