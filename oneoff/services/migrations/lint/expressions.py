"""Judge types, defaults and conditions in the SQL of a revision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from oneoff.services.migrations.sqlite_sql import ColumnSQL, kind_of, unquote

# Functions of PostgreSQL that are often defaults and give one value for a whole statement. All
# others may be volatile, which is also what a function of the project is unless it says otherwise.
_STABLE = frozenset(
    "now current_timestamp current_date current_time localtime localtimestamp "
    "transaction_timestamp statement_timestamp timezone date_trunc to_timestamp to_date make_date "
    "make_interval interval lower upper concat coalesce nullif greatest least cast array row "
    "json_build_object jsonb_build_object json_build_array jsonb_build_array to_json to_jsonb "
    "current_setting current_user current_schema session_user char varchar bit varbit numeric "
    "decimal timestamp time character varying and or not in".split()
)
_COUNTS = frozenset("IDENTITY SERIAL BIGSERIAL SMALLSERIAL SERIAL4 SERIAL8 SERIAL2".split())
_TRAITS = {
    "NOT": "not null",
    "DEFAULT": "default",
    "GENERATED": "generated",
    "UNIQUE": "unique",
    "PRIMARY": "primary",
    "CHECK": "check",
    "REFERENCES": "references",
}
_TYPE = re.compile(r"(?P<name>[A-Z ]+?)\s*(?:\(\s*(?P<size>\d+)\s*(?:,\s*(?P<scale>\d+)\s*)?\))?")
_SAME = {"CHARACTER VARYING": "VARCHAR", "DECIMAL": "NUMERIC"}


def traits_of(column: ColumnSQL) -> set[str]:
    """Return what the rules need to know about a new column.

    "counts" is a serial or identity column. "volatile" is a default that may differ by row.
    """
    clauses = {kind_of(one): one for one in column.clauses}
    words = [*column.type, *(word for one in column.clauses for word in one)]
    keys = {word.upper() for word in words}
    traits = {_TRAITS[kind] for kind in clauses if kind in _TRAITS}
    traits |= {"json"} & {words[0].lower()} if words else set()
    traits |= {"stored"} if {"GENERATED", "STORED"} <= keys else set()
    traits |= {"counts"} if keys & _COUNTS else set()
    return traits | ({"volatile"} if _differs_by_row(clauses.get("DEFAULT", [])) else set())


def _differs_by_row(default: Sequence[str]) -> bool:
    """Return whether a default may have another value for each row."""
    calls = pairwise(default)
    return any(
        after == "(" and (word[:1] == '"' or (word[:1].isalpha() and word.lower() not in _STABLE))
        for word, after in calls
    )


def is_widened(before: str, after: Sequence[str]) -> bool:
    """Return whether a change of type neither rewrites nor reads the rows.

    Args:
        before: The type as PostgreSQL writes it; empty if it is not known.
        after: The words of the new type, and the rest of the statement.
    """
    old, new = (_TYPE.fullmatch(text.upper()) for text in (before, "".join(_spaced(after))))
    if not before or old is None or new is None:
        return False
    kinds = [_SAME.get(one["name"], one["name"]) for one in (old, new)]
    limits = [
        (int(one["size"]), int(one["scale"] or 0)) if one["size"] else None for one in (old, new)
    ]
    if kinds == ["VARCHAR", "TEXT"] or (kinds == ["TEXT", "VARCHAR"] and not limits[1]):
        return True
    if kinds[0] != kinds[1]:
        return False
    smaller, larger = limits
    if smaller == larger or (not larger and kinds[1] in ("VARCHAR", "NUMERIC")):
        return True
    if not smaller or not larger or kinds[1] not in ("VARCHAR", "NUMERIC"):
        return False
    return smaller[0] <= larger[0] and smaller[1] == larger[1]


def selects_most_rows(condition: Sequence[str]) -> bool:
    """Return whether a WHERE clause may match most rows.

    It does not if it compares a column with `=`, IN, BETWEEN or a subquery.
    """
    keys = [word.upper() for word in condition]
    if not keys or (keys[-1] == "NULL" and "IS" in keys[-3:-1] and not {"AND"} & {*keys}):
        return True
    is_constant = not any(word[:1].isalpha() or word[:1] in '_"' for word in keys)
    return is_constant or not {"=", "IN", "BETWEEN", "EXISTS"} & {*keys}


def not_null_column(check: Sequence[str]) -> str:
    """Return the column of a check that is only `column IS NOT NULL`; empty if it is another."""
    words = [word for word in check if word not in ("(", ")")]
    match [word.upper() for word in words]:
        case ["CHECK", _, "IS", "NOT", "NULL"] | ["CHECK", _, "IS", "NOT", "NULL", "NOT", "VALID"]:
            return unquote(words[1]) if words[1][:1] == '"' else words[1].lower()
    return ""


def _spaced(words: Sequence[str]) -> list[str]:
    return [f" {word}" if at and word[:1].isalpha() else word for at, word in enumerate(words)]
