"""Query what may not exist, in one statement, on PostgreSQL.

A table that does not exist, or a function that the role may not call, is an error even in a branch
of CASE that is not evaluated. query_to_xml takes a query as text, and runs it only when its branch
is evaluated.
"""

from __future__ import annotations

import json
from typing import Any


def query_if(condition: str, expressions: str, source: str = "") -> str:
    """Return SQL for the values of a query's one row, for `read_values`; NULL without condition.

    Args:
        condition: SQL of the condition.
        expressions: SQL of the values.
        source: The query's FROM clause.
    """
    query = f"SELECT json_build_array({expressions}) AS found {source}"
    return f"CASE WHEN {condition} THEN query_to_xml($${query}$$, false, true, '')::text END"


def read_values(xml: str | None) -> list[Any]:
    """Return the values that the query returned; an empty list if the condition was not true."""
    if xml is None:
        return []
    text = xml.partition("<found>")[2].partition("</found>")[0]
    # XML escapes these three characters, and nothing else of JSON.
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    values: list[Any] = json.loads(text)
    return values
