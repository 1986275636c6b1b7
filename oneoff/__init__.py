"""The public API: every name that an application or its commands import from oneoff.

    from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

A name is loaded when it is first used (PEP 562): `import oneoff` alone loads nothing else, and
`manage.py help` does not load what only a running command needs. Besides this module, only
`oneoff.testing`, `oneoff.cli` and `oneoff.integrations` are public.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from oneoff.config.project_settings import load_settings as load_settings
    from oneoff.config.settings import Config as Config
    from oneoff.config.settings import load_config as load_config
    from oneoff.core.arguments import Argument as Argument
    from oneoff.core.arguments import Flag as Flag
    from oneoff.core.arguments import Option as Option
    from oneoff.core.arguments import Secret as Secret
    from oneoff.core.arguments import SecretStr as SecretStr
    from oneoff.core.command import BaseCommand as BaseCommand
    from oneoff.core.conversion import duration_text as duration_text
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
    from oneoff.core.events import AnyEvent as AnyEvent
    from oneoff.core.events import Listener as Listener
    from oneoff.core.events import ProcessError as ProcessError
    from oneoff.core.events import RunEnded as RunEnded
    from oneoff.core.events import RunStarted as RunStarted
    from oneoff.core.events import Step as Step
    from oneoff.core.outcome import Status as Status
    from oneoff.core.policy import Access as Access
    from oneoff.core.policy import Confirm as Confirm
    from oneoff.core.policy import DryRun as DryRun
    from oneoff.core.policy import Mode as Mode
    from oneoff.core.project import Project as Project
    from oneoff.core.result import Result as Result
    from oneoff.core.run import Run as Run
    from oneoff.core.task import Task as Task
    from oneoff.database.engine import Database as Database
    from oneoff.database.locks.base import HeldLock as HeldLock
    from oneoff.runtime.application import Application as Application
    from oneoff.runtime.call_command import call_command as call_command
    from oneoff.runtime.progress import Progress as Progress
    from oneoff.services.batch.command import BatchCommand as BatchCommand
    from oneoff.services.batch.command import Batches as Batches
    from oneoff.services.batch.command import BatchRange as BatchRange
    from oneoff.services.batch.command import Throttle as Throttle
    from oneoff.services.batch.probes import ActiveConnections as ActiveConnections
    from oneoff.services.batch.probes import Autovacuum as Autovacuum
    from oneoff.services.batch.probes import BatchTime as BatchTime
    from oneoff.services.batch.probes import LockWaiters as LockWaiters
    from oneoff.services.batch.probes import ProbeDenied as ProbeDenied
    from oneoff.services.batch.probes import ReplicaLag as ReplicaLag
    from oneoff.services.cache.warmers import Warmer as Warmer
    from oneoff.services.jobs.queue import Jobs as Jobs
    from oneoff.services.migrations.env import run_env as run_env
    from oneoff.services.migrations.seed import Seed as Seed
    from oneoff.services.outbox.delivery import deliver_effects as deliver_effects
    from oneoff.services.outbox.effects import Effect as Effect
    from oneoff.services.outbox.effects import put_effect as put_effect
    from oneoff.services.retention.framework_rules import framework_rules as framework_rules
    from oneoff.services.retention.rules import Retention as Retention
    from oneoff.services.settings import check_settings as check_settings
    from oneoff.services.transforms.transform import Transform as Transform
    from oneoff.utils.text import counted as counted

__version__ = "0.1.0"

_NAMES_BY_MODULE = {
    "config.project_settings": ("load_settings",),
    "config.settings": ("Config", "load_config"),
    "core.arguments": ("Argument", "Flag", "Option", "Secret", "SecretStr"),
    "core.command": ("BaseCommand",),
    "core.conversion": ("duration_text",),
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
    "core.events": ("AnyEvent", "Listener", "ProcessError", "RunEnded", "RunStarted", "Step"),
    "core.outcome": ("Status",),
    "core.policy": ("Access", "Confirm", "DryRun", "Mode"),
    "core.project": ("Project",),
    "core.result": ("Result",),
    "core.run": ("Run",),
    "core.task": ("Task",),
    "database.engine": ("Database",),
    "database.locks.base": ("HeldLock",),
    "runtime.application": ("Application",),
    "runtime.call_command": ("call_command",),
    "runtime.progress": ("Progress",),
    "services.batch.command": ("BatchCommand", "BatchRange", "Batches", "Throttle"),
    "services.batch.probes": (
        "ActiveConnections",
        "Autovacuum",
        "BatchTime",
        "LockWaiters",
        "ProbeDenied",
        "ReplicaLag",
    ),
    "services.cache.warmers": ("Warmer",),
    "services.jobs.queue": ("Jobs",),
    "services.migrations.env": ("run_env",),
    "services.migrations.seed": ("Seed",),
    "services.outbox.delivery": ("deliver_effects",),
    "services.outbox.effects": ("Effect", "put_effect"),
    "services.retention.framework_rules": ("framework_rules",),
    "services.retention.rules": ("Retention",),
    "services.settings": ("check_settings",),
    "services.transforms.transform": ("Transform",),
    "utils.text": ("counted",),
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Import the module that defines a public name, once."""
    if name not in _MODULE_OF:
        message = f"module 'oneoff' has no attribute {name!r}"
        raise AttributeError(message)
    # __import__ rather than importlib: importlib's package is one more import at start-up.
    module = __import__(f"oneoff.{_MODULE_OF[name]}", fromlist=[name])
    value: object = getattr(module, name)
    globals()[name] = value
    return value
