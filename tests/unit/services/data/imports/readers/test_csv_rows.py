"""Rows of csv that can't be read."""

from __future__ import annotations

import pytest

from oneoff.services.data.imports.readers.base import RawRow
from oneoff.services.data.imports.readers.csv_reader import shape_problem


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(1, "line 3: the row has 1 cell, not 5"), (2, "line 3: the row has 2 cells, not 5")],
)
def test_a_row_with_too_few_cells_is_named(cells: int, expected: str) -> None:
    """The noun agrees with the number."""
    problem = shape_problem(RawRow(3, b"x"), cells, 5)

    assert problem is not None
    assert expected == problem.text
