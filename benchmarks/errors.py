"""The error that stops a benchmark, and the exit code for it."""

import sys
from collections.abc import Callable

NOT_MEASURED = 2


class BenchmarkError(Exception):
    """Something can't be measured. The message says why, and how to fix it."""


def run_script(main: Callable[[], int]) -> None:
    """Run `main` and exit with its exit code: 2 for a BenchmarkError, 130 for Ctrl-C."""
    try:
        raise SystemExit(main())
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(NOT_MEASURED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
