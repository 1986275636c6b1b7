"""Mark tests of `manage` that don't depend on the kind of database, to run on SQLite only."""

from __future__ import annotations

import pytest

ON_SQLITE = pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)
