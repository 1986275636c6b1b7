"""What stops a benchmark, and the exit code it then leaves with."""

import sys
from collections.abc import Callable

NOT_MEASURED = 2


class BenchmarkError(Exception):
    """Say why nothing can be measured, and what would help."""


def run_script(main: Callable[[], int]) -> None:
    """Leave with the exit code of `main`, or with the one of what stopped it."""
    try:
        raise SystemExit(main())
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(NOT_MEASURED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
