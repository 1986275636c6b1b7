"""What stops a benchmark."""


class BenchmarkError(Exception):
    """Say why nothing can be measured, and what would help."""
