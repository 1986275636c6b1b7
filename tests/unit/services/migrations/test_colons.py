"""Colons of SQL texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import bindparam, text
from sqlalchemy.dialects import sqlite

from oneoff.services.migrations.colons import escape, without_parameters


@given(st.text(alphabet=":\\ab1 '{}\"-", max_size=12))
def test_an_escaped_text_gives_exactly_the_same_sql(sql: str) -> None:
    """Whatever colons and backslashes it has."""
    assert sql == str(text(escape(sql)).compile(dialect=sqlite.dialect()))


def test_a_colon_without_a_value_is_no_parameter() -> None:
    """A default that is read from the database has none."""
    clause = without_parameters(text("""'{"mail":true}'::json"""))

    assert """'{"mail":true}'::json""" == str(clause.compile(dialect=sqlite.dialect()))


def test_a_parameter_with_a_value_stays() -> None:
    """A model may use one."""
    clause = text("a > :least").bindparams(bindparam("least", 3))

    assert clause is without_parameters(clause)
