"""Create the server-side function that casts a chunk of texts and inserts the rows.

`StagedImport` creates the function, and calls it after COPY has loaded a chunk into `TEXTS_TABLE`.
The function first inserts all rows with one statement, which nearly always succeeds. If this fails,
it inserts each row in a subtransaction, and stores the error of a bad row. If the error names no
column, the function casts the row's values one by one, until one fails in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.postgresql.staging_table import (
    ERRORS_TABLE,
    NUMBER_COLUMN,
    STAGING_TABLE,
    TEXTS_TABLE,
)
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

CHUNK_FUNCTION = "pg_temp.oneoff_import_chunk"

# Errors that one row can cause. The last two are raised by the input functions of some types, such
# as hstore. Other errors, such as a full disk, a deadlock or a cancelled statement, end the import.
CAUGHT = (
    "data_exception OR integrity_constraint_violation OR undefined_object OR undefined_table "
    "OR undefined_function OR feature_not_supported OR insufficient_privilege "
    "OR program_limit_exceeded OR syntax_error OR internal_error"
)
# A block with EXCEPTION is a subtransaction: its inserted rows are rolled back before the handler
# runs. So after a failed chunk the target contains none of its rows, and the loop can insert the
# good ones.
# `use_column`: a column of the project may have the same name as one of the variables.
# COLUMN_NAME is empty for a violated unique key, exclusion or reference. Their columns are
# only in DETAIL, as `(a, b)=(1, 2)`, which is not translated. All other errors need the probes.
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {CHUNK_FUNCTION}() RETURNS void LANGUAGE plpgsql AS %(tag)s
#variable_conflict use_column
DECLARE r record; state text; probe_state text; names text[];
    error_column text; error_constraint text; error_detail text;
BEGIN
    BEGIN
        %(chunk)s;
        RETURN;
    EXCEPTION WHEN {CAUGHT} THEN NULL;
    END;
    FOR r IN SELECT * FROM {TEXTS_TABLE} LOOP
        BEGIN
            %(row)s;
        EXCEPTION WHEN {CAUGHT} THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, error_column = COLUMN_NAME,
                error_constraint = CONSTRAINT_NAME, error_detail = PG_EXCEPTION_DETAIL;
            names := '{{}}';
            IF error_column <> '' THEN names := ARRAY[error_column];
            ELSIF left(state, 2) = '23' AND error_detail ~ '\\)=\\(' THEN
                names := string_to_array(
                    replace(substring(error_detail FROM '\\((.*?)\\)=\\('), '"', ''), ', ');
            ELSE %(probes)s
            END IF;
            INSERT INTO {ERRORS_TABLE} VALUES (r.number, state, names, error_constraint);
        END;
    END LOOP;
END %(tag)s
"""  # noqa: S608 - constants
# Insert one value alone, to find out whether it causes the error. The inserted value must not stay,
# so after a success an error rolls it back: assert_failure, which no cast raises and which CAUGHT
# does not contain.
_PROBE = f"""
IF cardinality(names) = 0 THEN
    BEGIN
        INSERT INTO {STAGING_TABLE} (%(name)s) %(select)s;
        RAISE assert_failure;
    EXCEPTION
        WHEN assert_failure THEN NULL;
        WHEN {CAUGHT} THEN
            GET STACKED DIAGNOSTICS probe_state = RETURNED_SQLSTATE;
            IF probe_state = state THEN names := ARRAY[%(text)s]; END IF;
    END;
END IF;
"""


def create_chunk_function(
    plan: Plan, values: Mapping[str, str], *, json: bool, into_target: bool
) -> str:
    """Return the statement that creates the function.

    Args:
        plan: What is imported.
        values: The SQL of each column's value in a row `r` of texts.
        json: Whether a row is JSON; its members are then available as `j`.
        into_target: Whether to insert into the target; otherwise into the staging table, with the
            rows' numbers.
    """
    insert = f"INSERT INTO {STAGING_TABLE} ({plan.quoted_columns}, {quote(NUMBER_COLUMN)}) "
    if into_target:
        insert = insert_statement(plan, "")
    select = f"SELECT {', '.join([*values.values(), *([] if into_target else ['r.number'])])}"
    members = _members(plan.written, json=json)
    probes = [
        _PROBE
        % {
            "name": quote(column.name),
            "text": quote_text(column.name),
            "select": f"SELECT {values[column.name]}" + _from(_members([column], json=json)),
        }
        for column in plan.written
    ]
    chunk = f"{insert}{select} FROM {TEXTS_TABLE} r" + (f", {members}" if members else "")
    row, probed = insert + select + _from(members), "".join(probes)
    parts = {"chunk": chunk, "row": row, "probes": probed}
    return _FUNCTION % (parts | {"tag": dollar_tag(row + probed)})


def dollar_tag(body: str) -> str:
    """Return a tag to quote the body of a function.

    The name of a column may contain any text, even the tag that would end the body.
    """
    tag = "$check$"
    while tag in body:
        tag = tag[:-1] + "k$"
    return tag


def _members(columns: list[Column], *, json: bool) -> str:
    shape = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
    return f"json_to_record(r.row) AS j({shape})" if json else ""


def _from(members: str) -> str:
    return f" FROM {members}" if members else ""
