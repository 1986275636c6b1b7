"""Read the project's WorkerSettings as ARQ does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oneoff.config.redis_url import RedisURL
from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.project import load_object
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from oneoff.core.project import Project

Serializer = Callable[[dict[str, Any]], bytes]
Deserializer = Callable[[bytes], dict[str, Any]]
Hook = Callable[[dict[Any, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One function of the worker, which a job calls by its name.

    Attributes:
        name: The name that jobs use: "send_welcome_mail", "cron:refresh_report".
        coroutine: The function itself; its first parameter is ARQ's context.
        timeout: Seconds that one try may take.
        keep_result: Seconds to keep its result; 0 to keep none, None to keep it permanently.
        max_tries: Tries before the job counts as failed.
    """

    name: str
    coroutine: Callable[..., Awaitable[Any]]
    timeout: float
    keep_result: float | None
    max_tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """The worker of a project.

    Attributes:
        source: Import string of its settings.
        queue: Key of its queue.
        tasks: Its functions by name, including those of cron jobs.
        serializer: Writes jobs and results; None for pickle.
        deserializer: Reads jobs and results; None for pickle.
        expires_extra_ms: Milliseconds that a job is kept after its due time.
        keep_result: As in `Task`, for jobs whose function is not known.
        allow_abort_jobs: Whether a running job can be aborted.
        retry_jobs: Whether `Retry` and cancellation lead to another try.
        health_check_key: Key of the heartbeat.
        health_check_interval: Seconds between two heartbeats.
        redis: Its `redis_settings`; None if it sets neither them nor a `redis_pool`.
        ctx: The initial context of every job.
        hooks: Those of `on_startup`, `on_shutdown`, `on_job_start`, `on_job_end` and
            `after_job_end` that the settings define.
    """

    source: str
    queue: str
    tasks: Mapping[str, Task]
    serializer: Serializer | None
    deserializer: Deserializer | None
    expires_extra_ms: int
    keep_result: float | None
    allow_abort_jobs: bool
    retry_jobs: bool
    health_check_key: str
    health_check_interval: float
    redis: Any = field(repr=False)
    ctx: Mapping[Any, Any] = field(repr=False)
    hooks: Mapping[str, Hook] = field(repr=False)

    def task(self, name: str) -> Task:
        """Return the function of this name.

        Raises:
            UsageError: There is none; the message suggests similar names.
        """
        if name in self.tasks:
            return self.tasks[name]
        near = similar(name, self.tasks) or [
            known for known in self.tasks if known.rpartition(":")[2] == name
        ]
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(
            f"there is no task {name!r}{meant}",
            try_=f"one of the tasks of {self.source}: {', '.join(sorted(self.tasks))}",
            code="unknown-task",
        )


def check_same_redis(worker: WorkerSpec, url: RedisURL) -> None:
    """Check that the worker reads jobs from the Redis in REDIS_URL, where the commands put them.

    Raises:
        ConfigurationError: `redis_settings` names another server or database.
    """
    own = _address(worker.redis)
    if own is None or _same(own, url):
        return
    raise ConfigurationError(
        f"the worker uses Redis at {own.name}, and REDIS_URL is {url.name}",
        why=f"the redis_settings of {worker.source} would leave jobs from commands waiting forever",
        try_=(
            "in the worker's settings: redis_settings = WorkerConnection(config)",
            f"or set REDIS_URL to the Redis of the worker, {own.name}",
        ),
        code="worker-on-another-redis",
    )


def default_redis_warning(worker: WorkerSpec, url: RedisURL) -> str:
    """Return a warning if the worker sets no Redis and ARQ's default is another than REDIS_URL."""
    default = RedisURL("localhost")
    if worker.redis is not None or _same(default, url):
        return ""
    return (
        f"{worker.source} has no redis_settings; started by `arq`, it uses {default.name}, "
        f"and REDIS_URL is {url.name}"
    )


def _address(settings: Any) -> RedisURL | None:
    """Return what ARQ's RedisSettings connect to; None for other objects, and for sentinels."""
    from arq.connections import RedisSettings

    # `WorkerConnection` is another class: it uses REDIS_URL, and reading it would check settings.
    if not isinstance(settings, RedisSettings) or settings.sentinel:
        return None
    host = settings.unix_socket_path or str(settings.host)
    return RedisURL(host, settings.port, settings.database)


def _same(one: RedisURL, other: RedisURL) -> bool:
    return one.db == other.db and _server(one) == _server(other)


def _server(url: RedisURL) -> tuple[str, int]:
    host = url.host.lower()
    return ("localhost" if host in _LOCAL else host, url.port)


_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HOOKS = ("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end")


def load_worker(project: Project) -> WorkerSpec:
    """Import the project's WorkerSettings.

    Raises:
        ConfigurationError: The project names none, or ARQ would refuse them.
    """
    if not project.worker:
        raise ConfigurationError(
            "the project names no worker",
            why="the settings of the worker name the queue and the functions that jobs may call",
            try_='Project(..., worker="app.worker:WorkerSettings")',
            code="worker-not-configured",
        )
    settings = load_object(project.worker)
    try:
        return _spec(project.worker, _values(settings))
    except (ImportError, RuntimeError, AttributeError, TypeError) as exc:
        raise ConfigurationError(
            f"{project.worker} can't be used: {exc}",
            why="ARQ would refuse it too",
            try_="set functions to a list of coroutine functions, arq.func(...) or import strings",
            code="bad-worker",
        ) from exc


def _values(settings: Any) -> dict[str, Any]:
    """Return the arguments for ARQ's Worker.

    If the settings are a class, ARQ ignores its inherited attributes.
    """
    import inspect

    from arq.worker import Worker, get_kwargs

    parameters = inspect.signature(Worker).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return {**defaults, **get_kwargs(settings)}


def _spec(source: str, values: Mapping[str, Any]) -> WorkerSpec:
    from arq.utils import to_seconds
    from arq.worker import func

    functions = [func(each) for each in values["functions"]] + list(values["cron_jobs"] or ())
    queue = values["queue_name"] or "arq:queue"
    return WorkerSpec(
        source=source,
        queue=queue,
        tasks={each.name: _task(each, values) for each in functions},
        serializer=values["job_serializer"],
        deserializer=values["job_deserializer"],
        expires_extra_ms=values["expires_extra_ms"],
        keep_result=None if values["keep_result_forever"] else to_seconds(values["keep_result"]),
        allow_abort_jobs=values["allow_abort_jobs"],
        retry_jobs=values["retry_jobs"],
        health_check_key=values["health_check_key"] or f"{queue}:health-check",
        health_check_interval=to_seconds(values["health_check_interval"]),
        redis=values["redis_settings"] or values["redis_pool"],
        ctx=values["ctx"] or {},
        hooks={name: values[name] for name in _HOOKS if values[name]},
    )


def _task(function: Any, values: Mapping[str, Any]) -> Task:
    """Use the worker's setting where the function has none, as ARQ does."""
    from arq.utils import to_seconds

    def either(own: Any, general: Any) -> Any:
        return general if own is None else own

    forever = either(function.keep_result_forever, values["keep_result_forever"])
    return Task(
        name=function.name,
        coroutine=function.coroutine,
        timeout=either(function.timeout_s, to_seconds(values["job_timeout"])),
        keep_result=(
            None if forever else either(function.keep_result_s, to_seconds(values["keep_result"]))
        ),
        max_tries=either(function.max_tries, values["max_tries"]),
    )
