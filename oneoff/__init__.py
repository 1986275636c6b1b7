"""Management commands for async Python applications that are not Django.

The public names load when they are first used (PEP 562): `import oneoff` itself costs nothing, and
`manage.py help` never pays for what only a running command needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from oneoff.arguments import Argument as Argument
    from oneoff.arguments import Flag as Flag
    from oneoff.arguments import Option as Option
    from oneoff.arguments import Secret as Secret
    from oneoff.arguments import SecretStr as SecretStr
    from oneoff.batch import BatchCommand as BatchCommand
    from oneoff.batch import BatchRange as BatchRange
    from oneoff.batch import Throttle as Throttle
    from oneoff.call import call_command as call_command
    from oneoff.command import BaseCommand as BaseCommand
    from oneoff.errors import CheckFailed as CheckFailed
    from oneoff.errors import CommandError as CommandError
    from oneoff.errors import ConfigurationError as ConfigurationError
    from oneoff.errors import DataError as DataError
    from oneoff.errors import ExitCode as ExitCode
    from oneoff.errors import NotFound as NotFound
    from oneoff.errors import Refused as Refused
    from oneoff.errors import TemporaryError as TemporaryError
    from oneoff.errors import Unavailable as Unavailable
    from oneoff.errors import UsageError as UsageError
    from oneoff.policy import Access as Access
    from oneoff.policy import Confirm as Confirm
    from oneoff.policy import DryRun as DryRun
    from oneoff.project import Project as Project
    from oneoff.result import Result as Result
    from oneoff.retention import Retention as Retention
    from oneoff.run import Run as Run
    from oneoff.seeds import Seed as Seed
    from oneoff.transforms import Transform as Transform
    from oneoff.warmers import Warmer as Warmer

_HOMES = {
    "arguments": ("Argument", "Flag", "Option", "Secret", "SecretStr"),
    "batch": ("BatchCommand", "BatchRange", "Throttle"),
    "call": ("call_command",),
    "command": ("BaseCommand",),
    "errors": (
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
    "policy": ("Access", "Confirm", "DryRun"),
    "project": ("Project",),
    "result": ("Result",),
    "retention": ("Retention",),
    "run": ("Run",),
    "seeds": ("Seed",),
    "transforms": ("Transform",),
    "warmers": ("Warmer",),
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
