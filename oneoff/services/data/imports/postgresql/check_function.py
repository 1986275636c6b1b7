"""The function that moves a chunk of rows from texts to types, or to the target, in the server.

As one statement, which nearly always succeeds. If it fails, row by row: each in a subtransaction,
whose error is noted, and for an error that doesn't say of which column it is, column by column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

NUMBER = "oneoff row"
"""Column of the staging table for the number of a row."""
ERRORS = f"{STAGING}_errors"
RAW = f"{STAGING}_rows"
"""The tables of bad rows, and of the texts of one chunk."""

_CAUGHT = (
    "data_exception OR integrity_constraint_violation OR undefined_object OR undefined_table "
    "OR undefined_function OR feature_not_supported OR insufficient_privilege"
)
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION pg_temp.{STAGING}_check() RETURNS void LANGUAGE plpgsql AS %(tag)s
#variable_conflict use_column
DECLARE r record; state text; probed text; names text[]; about text; named text; told text;
BEGIN
    BEGIN
        %(chunk)s;
        RETURN;
    EXCEPTION WHEN {_CAUGHT} THEN NULL;
    END;
    FOR r IN SELECT * FROM {RAW} LOOP
        BEGIN
            %(row)s;
        EXCEPTION WHEN {_CAUGHT} THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, named = COLUMN_NAME,
                about = CONSTRAINT_NAME, told = PG_EXCEPTION_DETAIL;
            names := '{{}}';
            IF named <> '' THEN names := ARRAY[named];
            ELSIF state IN ('23505', '23503') AND told ~ '\\)=\\(' THEN
                names := string_to_array(
                    replace(substring(told FROM '\\((.*?)\\)=\\('), '"', ''), ', ');
            ELSIF left(state, 2) <> '23' THEN %(probes)s
            END IF;
            INSERT INTO {ERRORS} VALUES (r.number, state, names, about);
        END;
    END LOOP;
END %(tag)s
"""  # noqa: S608 - constants
_PROBE = f"""
IF cardinality(names) = 0 THEN
    BEGIN
        INSERT INTO {STAGING} (%(name)s) %(select)s;
        RAISE assert_failure;
    EXCEPTION
        WHEN assert_failure THEN NULL;
        WHEN {_CAUGHT} THEN
            GET STACKED DIAGNOSTICS probed = RETURNED_SQLSTATE;
            IF probed = state THEN names := ARRAY[%(text)s]; END IF;
    END;
END IF;
"""


def make_function(plan: Plan, values: Mapping[str, str], *, json: bool, direct: bool) -> str:
    """Return the statement that makes it.

    Args:
        plan: What is imported.
        values: SQL of each column's value in a row `r` of texts.
        json: Whether such a row is JSON, of which `j` holds the members.
        direct: Whether rows go into the target; else into the staging table, with their numbers.
    """
    insert = f"INSERT INTO {STAGING} ({plan.quoted}, {quote(NUMBER)}) "
    if direct:
        insert = plan.insert("")
    select = f"SELECT {', '.join([*values.values(), *([] if direct else ['r.number'])])}"
    members = _members(plan.written, json=json)
    probes = [
        _PROBE
        % {
            "name": quote(column.name),
            "text": _text(column.name),
            "select": f"SELECT {values[column.name]}" + _from(_members([column], json=json)),
        }
        for column in plan.written
    ]
    chunk = f"{insert}{select} FROM {RAW} r" + (f", {members}" if members else "")
    row, probed = insert + select + _from(members), "".join(probes)
    tag = "$check$"
    while tag in row + probed:  # the name of a column may be anything
        tag = tag[:-1] + "k$"
    return _FUNCTION % {"tag": tag, "chunk": chunk, "row": row, "probes": probed}


def _members(columns: list[Column], *, json: bool) -> str:
    shape = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
    return f"json_to_record(r.row) AS j({shape})" if json else ""


def _from(members: str) -> str:
    return f" FROM {members}" if members else ""


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
