"""Count round trips: `python -m tests.support.bursts user list` shows those of a command."""

from tests.support.bursts.proxy import Burst, Connection, FarProxy, Trace, far

__all__ = ["Burst", "Connection", "FarProxy", "Trace", "far"]
