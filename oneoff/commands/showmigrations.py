"""`showmigrations` is `db status`.

The registry takes the class that `__all__` names, and runs are recorded as `db status`.
"""

from oneoff.commands.db.status import Status

__all__ = ["Status"]
