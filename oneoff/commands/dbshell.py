"""`dbshell` is `db shell`.

The registry takes the class that `__all__` names, and runs are recorded as `db shell`.
"""

from oneoff.commands.db.shell import Shell

__all__ = ["Shell"]
