"""Management commands for async Python applications that are not Django.

The public names load when they are first used (PEP 562): `import oneoff` itself costs nothing, and
`manage.py help` never pays for what only a running command needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from oneoff.core.arguments import Argument as Argument
    from oneoff.core.arguments import Flag as Flag
    from oneoff.core.arguments import Option as Option
    from oneoff.core.arguments import Secret as Secret
    from oneoff.core.arguments import SecretStr as SecretStr
    from oneoff.core.command import BaseCommand as BaseCommand
    from oneoff.core.errors import CheckFailed as CheckFailed
    from oneoff.core.errors import CommandError as CommandError
    from oneoff.core.errors import ConfigurationError as ConfigurationError
    from oneoff.core.errors import DataError as DataError
    from oneoff.core.errors import ExitCode as ExitCode
    from oneoff.core.errors import NotFound as NotFound
    from oneoff.core.errors import Refused as Refused
    from oneoff.core.errors import TemporaryError as TemporaryError
    from oneoff.core.errors import Unavailable as Unavailable
    from oneoff.core.errors import UsageError as UsageError
    from oneoff.core.policy import Access as Access
    from oneoff.core.policy import Confirm as Confirm
    from oneoff.core.policy import DryRun as DryRun
    from oneoff.core.project import Project as Project
    from oneoff.core.result import Result as Result
    from oneoff.core.run import Run as Run
    from oneoff.runtime.call_command import call_command as call_command
    from oneoff.services.batch.command import BatchCommand as BatchCommand
    from oneoff.services.batch.command import BatchRange as BatchRange
    from oneoff.services.batch.command import Throttle as Throttle
    from oneoff.services.cache.warmer import Warmer as Warmer
    from oneoff.services.migrations.seed import Seed as Seed
    from oneoff.services.retention.rules import Retention as Retention
    from oneoff.services.transforms.transform import Transform as Transform

_HOMES = {
    "core.arguments": ("Argument", "Flag", "Option", "Secret", "SecretStr"),
    "services.batch.command": ("BatchCommand", "BatchRange", "Throttle"),
    "runtime.call_command": ("call_command",),
    "core.command": ("BaseCommand",),
    "core.errors": (
        "CheckFailed",
        "CommandError",
        "ConfigurationError",
        "DataError",
        "ExitCode",
        "NotFound",
        "Refused",
        "TemporaryError",
        "Unavailable",
        "UsageError",
    ),
    "core.policy": ("Access", "Confirm", "DryRun"),
    "core.project": ("Project",),
    "core.result": ("Result",),
    "services.retention.rules": ("Retention",),
    "core.run": ("Run",),
    "services.migrations.seed": ("Seed",),
    "services.transforms.transform": ("Transform",),
    "services.cache.warmer": ("Warmer",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the module a public name lives in, once."""
    if name not in _HOME_OF:
        message = f"module 'oneoff' has no attribute {name!r}"
        raise AttributeError(message)
    # __import__ rather than importlib: importlib's package is one more import at start-up.
    module = __import__(f"oneoff.{_HOME_OF[name]}", fromlist=[name])
    value: object = getattr(module, name)
    globals()[name] = value
    return value
