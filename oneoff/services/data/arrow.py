"""Import pyarrow, which reads and writes Parquet files."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError

try:
    import pyarrow as pa
    from pyarrow import compute, parquet
    from pyarrow import json as arrow_json
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "Parquet files need the Python package 'pyarrow', which is not installed",
        try_=("pip install 'oneoff[parquet]'", "or use csv"),
        code="missing-dependency",
    ) from exc

# Arrow's own allocator keeps 20 MiB or more of freed memory, which makes it faster. Exports and
# imports do not need that: their bottleneck is the database.
pa.set_memory_pool(pa.system_memory_pool())

__all__ = ("arrow_json", "compute", "pa", "parquet")
