"""For tests of `manage` that don't depend on the database: one of the two is enough for them."""

from __future__ import annotations

import pytest

ON_SQLITE = pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)
