"""`rollback` is `db rollback`.

The registry takes the class that `__all__` names, and runs are recorded as `db rollback`.
"""

from oneoff.commands.db.rollback import Rollback

__all__ = ["Rollback"]
