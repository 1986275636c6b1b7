"""`migrate` is `db migrate`.

The registry takes the class that `__all__` names, and runs are recorded as `db migrate`.
"""

from oneoff.commands.db.migrate import Migrate

__all__ = ["Migrate"]
