"""All that random models are made of: `test_random_models.py` draws from these lists.

A fragment is the right side of a column, or an argument of the table. Each name of a column has its
own fragments, so that a column of the old models and one of the new models differ as they do in
practice: in type, default, key or index.
"""

from __future__ import annotations

COLUMNS = {
    "a": (
        "sa.Integer, nullable=False, server_default='1'",
        "sa.Integer, nullable=False, server_default='2'",
        "sa.Integer, nullable=False",
        "sa.BigInteger, nullable=False",
        "sa.Integer, nullable=True, index=True",
    ),
    "b": (
        "sa.String(20)",
        "sa.String(80)",
        "sa.String()",
        "sa.Text, server_default=''",
        "sa.String(20), unique=True",
        'sa.String(20), index=True, nullable=False, server_default="it\'s"',
    ),
    "c": (
        "sa.Integer, sa.ForeignKey('others.id')",
        "sa.Integer, sa.ForeignKey('others.id', ondelete='CASCADE')",
        "sa.Integer",
    ),
    "d": (
        "sa.Integer, sa.Computed('id * 2', persisted=True)",
        "sa.Integer, sa.Computed('id * 3', persisted=True)",
        "sa.Integer, sa.Computed('id + 1', persisted=True), index=True",
    ),
    "e": (
        """sa.JSON, server_default='{"mail":true,"max":10}'""",
        """sa.JSON, server_default='{"mail":false}'""",
        "sa.JSON().with_variant(pg.JSONB(), 'postgresql')",
        "sa.JSON",
    ),
    "f": (
        "sa.DateTime(timezone=True), server_default=sa.func.now()",
        "sa.DateTime(timezone=True), server_default=sa.text('CURRENT_TIMESTAMP')",
        "sa.DateTime(timezone=True)",
    ),
    "g": (
        "sa.Enum('calm', 'wild', name='mood')",
        "sa.Enum('calm', 'tame', 'wild', name='mood')",
        "sa.Enum('wild', 'calm', name='mood')",
        "sa.Enum('calm', 'wild', name='mood'), server_default='calm'",
        "sa.Enum('calm', 'wild', name='humour', native_enum=False, create_constraint=True)",
    ),
    "h": (
        "sa.Numeric(10, 2), nullable=False, server_default='0'",
        "sa.Numeric(12, 4), nullable=False, server_default='0'",
        "sa.Integer, nullable=False, server_default='0'",
        "sa.Float",
    ),
    "i": ("sa.Text", "sa.Uuid"),
    "j": ("sa.Date", "sa.DateTime"),
    "n": ("sa.LargeBinary", "sa.LargeBinary, nullable=False"),
    "k": ("sa.Integer, primary_key=True, server_default='0'", "sa.Integer, server_default='0'"),
}
ON_POSTGRESQL = {
    "l": (
        "pg.ARRAY(sa.Integer)",
        "pg.ARRAY(sa.Enum('calm', 'wild', name='mood'))",
    ),
    "o": ("pg.INET", "pg.INET, server_default='::1'", "sa.Text"),
    "m": (
        "sa.Integer, sa.Identity()",
        "sa.Integer, sa.Identity(always=True)",
        "sa.Integer, nullable=False, server_default='7'",
    ),
}
ARGUMENTS = (
    "sa.CheckConstraint('id > 0', name='ck_id')",
    "sa.CheckConstraint('id > 1', name='ck_id')",
    "sa.CheckConstraint('id BETWEEN 1 AND 1000000')",
    "sa.Index('ix_expression', sa.text('(id % 7)'))",
    "sa.Index('ix_expression', sa.text('(id % 9)'))",
    (
        "sa.Index('ix_partial', 'id', postgresql_where=sa.text('id > 5'), "
        "sqlite_where=sa.text('id > 5'))"
    ),
)
SCHEMAS = ("", "crm")
"""Schemas of the second table, on PostgreSQL only."""

MODELS = """
class Other(Base):
    __tablename__ = "others"
    id = mapped_column(sa.Integer, primary_key=True)
class Thing(Base):
    __tablename__ = "things"
    __table_args__ = ({arguments})
    id = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
{columns}
"""
EXTRA = """
class Extra(Base):
    __tablename__ = "extras"
    __table_args__ = {{"schema": {schema!r}}}
    id = mapped_column(sa.Integer, primary_key=True)
    other = mapped_column(sa.ForeignKey("others.id"))
"""
