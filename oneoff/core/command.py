"""Define `BaseCommand`: what a command declares, and how its inputs are converted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from oneoff.core.arguments import (
    Argument,
    Field,
    Flag,
    Kind,
    Option,
    Secret,
    SecretSource,
    SecretStr,
)
from oneoff.core.conversion import Shape, shape_of
from oneoff.core.errors import UsageError
from oneoff.core.policy import Access, Confirm, DryRun

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.core.task import Task

RESERVED = frozenset(
    "help json no_input verbose quiet debug traceback no_color timeout reason ticket dry_run "
    "confirm lock_wait break_glass approval waive version statement_timeout lock_timeout "
    "idle_timeout as_ fields sort".split()
)
"""Names of the options that every command has, which no input may use."""
CHECK_RESOURCES = ("config", "project", "registry", "run", "session")
"""The resources that `check_inputs` may ask for."""


class DeclarationError(TypeError):
    """An input of a command is declared wrongly.

    Attributes:
        place: The file and the line of the declaration.
    """

    def __init__(self, field: Field, name: str, problem: Exception) -> None:
        from oneoff.utils.places import error_text, shown_place

        text = str(problem) if isinstance(problem, TypeError) else error_text(problem)
        super().__init__(f"{name}: {text}")
        self.place = shown_place(*field.line)


@dataclass_transform(kw_only_default=True, field_specifiers=(Argument, Option, Flag, Secret))
class BaseCommand:
    """Declares the policy and the inputs of a command, and does its work in `handle`.

    The docstring of a command is its help, and its first line is the summary. `handle` may be a
    coroutine or a plain function. A plain function runs in a thread of its own, but with `session`
    in that of the event loop, where a signal or the deadline stops it only at its next statement.
    `handle` gets resources by parameter name, and returns a `Result` or raises a `CommandError`.
    The steps of a run: parse, gate (`check_inputs`, may it run here, is it confirmed), record the
    intent, lock, open the resources of `handle`, `handle`, commit or roll back, close the record,
    show the result.

    A command never parses, prompts, prints, commits, exits, or checks --dry-run (except to return
    the plan of a `DryRun.PLAN`).
    """

    access: ClassVar[Access] = Access.READ
    """Whether the command writes. The default is safe: the session of a reader refuses writes."""
    confirm: ClassVar[Confirm] = Confirm.NEVER
    dry_run: ClassVar[DryRun] = DryRun.UNSUPPORTED
    """What `--dry-run` does. A command that writes must declare it."""
    dry_run_samples: ClassVar[bool] = False
    """Whether a dry run does only the first batch and counts the other rows; for help."""
    lock: ClassVar[str] = ""
    """Name of the lock that the run holds, so that no other run can hold it; empty for none."""
    statement_timeout: ClassVar[float | None] = None
    lock_timeout: ClassVar[float | None] = None
    idle_timeout: ClassVar[float | None] = None
    """Limits of PostgreSQL for each transaction of the run, in seconds; see `database.limits`."""
    confirm_only_protected: ClassVar[bool] = False
    """Whether a higher level from `confirm_level` applies only in protected environments."""
    aims_at: ClassVar[str] = "database"
    """The kind of target that is confirmed: "database" is `<database>@<environment>`, "redis" is
    `<host>/<number>@<environment>` of the server in REDIS_URL."""
    environments: ClassVar[frozenset[str]] = frozenset()
    """The environments in which the command may run; empty for all."""
    allow_in_production: ClassVar[bool] = False
    """Whether a `Confirm.TYPE_NAME` command may run in production without `--break-glass`."""
    approvals: ClassVar[int] = 0
    """How many people must approve a run in a protected environment, besides its requester."""
    approval_tolerance: ClassVar[float] = 0.0
    """The part of each number of rows by which an approved run may differ from its plan: 0.1."""
    allow_agents: ClassVar[bool | None] = None
    """Whether coding agents may run it in a protected environment; None: if it only reads."""
    creates_schema: ClassVar[bool] = False
    """Whether a run first creates the framework's own tables, as `db migrate` does."""
    accepts_problems: ClassVar[bool] = False
    """Whether it runs even if settings are wrong, as `config check` and `config show` do."""
    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines for `--help`, without `python manage.py`; a test parses each."""
    overrides: ClassVar[bool] = False
    """Whether this class replaces the command with the same name in an earlier package."""
    task: ClassVar[Task | None] = None
    """Its entry in the catalogue of admin tasks; None if it is not in the catalogue."""

    _fields: ClassVar[dict[str, Field] | None] = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Raise TypeError for a class whose policy contradicts itself."""
        super().__init_subclass__(**kwargs)
        cls._fields = None
        problems = list(_policy_problems(cls)) if "handle" in cls.__dict__ else []
        if problems:
            message = f"{cls.__module__}.{cls.__qualname__}: " + "; ".join(problems)
            raise TypeError(message)

    def __init__(self, **values: Any) -> None:
        """Set the inputs. Strings are parsed as on the command line.

        Raises:
            UsageError: Values are wrong; it contains all problems.
        """
        fields = type(self).fields()
        unknown = sorted(values.keys() - fields.keys())
        problems = [f"{type(self).__name__} has no input {name!r}" for name in unknown]
        for name, field in fields.items():
            value = values.get(name, field.default)
            try:
                setattr(self, name, _convert(field, value, given=name in values))
            except ValueError as exc:
                problems.append(str(exc))
        if problems:
            raise UsageError(problems)

    @classmethod
    def fields(cls) -> Mapping[str, Field]:
        """Return the declared inputs by name, in the order of declaration, base classes first."""
        if cls._fields is None:
            cls._fields = _collect_fields(cls)
        return cls._fields

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def resources(cls) -> tuple[str, ...]:
        """Return the names of the parameters of `handle`, in order."""
        return _parameters(cls.handle)

    @classmethod
    def check_resources(cls) -> tuple[str, ...]:
        """Return the names of the parameters of `check_inputs`, in order."""
        return _parameters(cls.check_inputs)

    # Only for type checkers: a class without its own `handle` is not a command.
    if TYPE_CHECKING:

        def handle(self, *args: Any, **kwargs: Any) -> Any:
            """Do the work. The parameter names are the resources that the command uses."""

        def check_inputs(self, *args: Any, **kwargs: Any) -> Any:
            """Refuse inputs that can be known to be wrong before the operator is asked.

            It must not change anything. The parameter names are resources: see `CHECK_RESOURCES`.
            The session is read-only. A check that asks for it does not run before a dry run, and
            not if the run is confirmed with `--confirm`.
            """

    else:

        async def check_inputs(self) -> None:
            """Check nothing."""

    def confirm_level(self) -> Confirm:
        """Return how a run with these inputs must be confirmed; never less than `confirm`."""
        return self.confirm

    def approvals_needed(self, run: Run) -> int:
        """Return how many people must approve a run with these inputs, besides its requester.

        Args:
            run: Its environment, and whether that is protected.
        """
        return self.approvals if run.protected else 0

    def needs_terminal(self) -> bool:
        """Return whether these inputs need a person at a terminal; no flag can replace them."""
        return False

    def only_reads(self) -> bool:
        """Return whether these inputs make the run read-only (`--check`, `--plan`)."""
        return False

    def works_unrecorded(self) -> bool:
        """Return whether a run with these inputs may go on if its record can't be written.

        It then has to change nothing itself. Runs that are read-only may always go on.
        """
        return False

    def fills_stdout(self) -> bool:
        """Return whether these inputs make the command write its data to standard output itself.

        The messages of the run then go to standard error, and `--json` is a usage error.
        """
        return False

    def also_needs(self) -> tuple[str, ...]:
        """Return resources that these inputs use although `handle` does not name them.

        They are not opened, but the run is checked and recorded as if `handle` named them.
        """
        return ()

    def check_secret(self, name: str, secret: SecretStr, settings: Callable[[], Any]) -> None:
        """Raise a CommandError if a secret can't be used; at a prompt, oneoff then asks again.

        Args:
            name: The name of the input.
            secret: Its value.
            settings: Returns the project's settings.
        """

    def database_wait(self) -> float:
        """Return how many seconds to wait for a database that is still starting."""
        return 0.0

    def consequence(self) -> str:
        """Return what a real run does, for the confirmation: "drops every table in {target}".

        The text follows the command's name or "it". `{target}` is replaced by the target.
        """
        summary = self.summary().rstrip(".")
        return f"would {summary[:1].lower()}{summary[1:]} in {{target}}"


_NONE = type(None)
_DECLARED_TYPES: dict[str, tuple[type, ...]] = {
    "access": (Access,),
    "confirm": (Confirm,),
    "dry_run": (DryRun,),
    "lock": (str,),
    **dict.fromkeys(("statement_timeout", "lock_timeout", "idle_timeout"), (float, int, _NONE)),
    "aims_at": (str,),
    "dry_run_samples": (bool,),
    "confirm_only_protected": (bool,),
    "allow_in_production": (bool,),
    "approvals": (int,),
    "approval_tolerance": (float, int),
    "allow_agents": (bool, type(None)),
    "creates_schema": (bool,),
    "accepts_problems": (bool,),
    "overrides": (bool,),
    "environments": (frozenset, set, tuple, list),
    "examples": (tuple, list),
}
"""The types of the attributes in which a class declares its policy."""


def _parameters(method: Callable[..., Any]) -> tuple[str, ...]:
    code = method.__code__
    return tuple(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def _policy_problems(cls: type[BaseCommand]) -> Any:
    for name, types in _DECLARED_TYPES.items():
        # A text is iterable too: `examples = ("one")` would be three examples.
        if not isinstance(value := getattr(cls, name), types):
            yield f"{name} = {value!r} must be of the type {types[0].__name__}"
    if not hasattr(cls.__dict__["handle"], "__code__"):
        yield "handle is not a function"
    if not cls.summary():
        yield "needs a docstring: its first line is the summary in help"
    yield from _check_problems(cls)
    yield from _access_problems(cls)
    yield from _task_problems(cls)


def _access_problems(cls: type[BaseCommand]) -> Any:
    if cls.access is Access.WRITE and not _declares(cls, "dry_run"):
        yield (
            "writes, so it must declare dry_run: DryRun.ROLLBACK for database work, DryRun.PLAN "
            "where a rollback can't undo it, or DryRun.UNSUPPORTED"
        )
    if cls.access is Access.READ and cls.dry_run is not DryRun.UNSUPPORTED:
        yield "declares dry_run but only reads; set access = Access.WRITE if it writes"
    if cls.access is Access.READ and cls.confirm is Confirm.TYPE_NAME:
        yield "declares Confirm.TYPE_NAME but only reads; set access = Access.WRITE if it writes"


def _task_problems(cls: type[BaseCommand]) -> Any:
    task: object = cls.task
    if task is None or isinstance(task, property | Field):
        return  # a property chooses the task by the inputs; an input named `task` is refused later
    from oneoff.core.task import Task

    if not isinstance(task, Task):
        yield f"task = {task!r} must be of the type Task"


def _check_problems(cls: type[BaseCommand]) -> Any:
    code = getattr(cls.check_inputs, "__code__", None)
    if code is None or not code.co_flags & _COROUTINE:
        yield "check_inputs is not declared by async def"
        return
    unknown = [name for name in cls.check_resources() if name not in CHECK_RESOURCES]
    if unknown:
        yield f"check_inputs asks for {', '.join(unknown)}; it gets {', '.join(CHECK_RESOURCES)}"


_COROUTINE = 0x80  # inspect.CO_COROUTINE; importing inspect would take a few milliseconds


def _declares(cls: type[BaseCommand], attribute: str) -> bool:
    return any(attribute in base.__dict__ for base in cls.__mro__ if base is not BaseCommand)


def _collect_fields(cls: type[BaseCommand]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        for name, value in list(base.__dict__.items()):
            if isinstance(value, Field):
                try:
                    _bind(value, base, name)
                except Exception as exc:
                    raise DeclarationError(value, f"{base.__qualname__}.{name}", exc) from exc
                fields[name] = value
    return fields


def _bind(field: Field, owner: type, name: str) -> None:
    """Set a field's name and type; `from __future__ import annotations` makes the type a string."""
    if name in RESERVED or hasattr(BaseCommand, name):
        other = "" if name in RESERVED else f", such as {name}_"
        message = f"every command already has {name!r}; choose another name{other}"
        raise TypeError(message)
    annotation = owner.__annotations__.get(name)
    if annotation is None:
        message = "needs a type annotation, which determines how to parse it"
        raise TypeError(message)
    if isinstance(annotation, str):
        try:
            # The text comes from the class's own module. typing.get_type_hints does the same.
            annotation = eval(annotation, vars(sys.modules[owner.__module__]))  # noqa: S307
        except NameError as exc:
            message = f"{exc}; import it at run time, not under TYPE_CHECKING"
            raise TypeError(message) from None
    field.name, field.annotation = name, annotation
    if field.kind is not Kind.SECRET:
        shape_of(annotation)


def _convert(field: Field, value: Any, *, given: bool) -> Any:
    if field.kind is Kind.SECRET:
        if not given:
            return SecretSource.NOT_GIVEN
        return SecretStr(value) if isinstance(value, str) else value
    if not given:
        if field.required:
            message = f"{field.spelling} is missing: {field.help.rstrip('.')}"
            raise ValueError(message)
        return list(value) if isinstance(value, list) else value
    shape = shape_of(field.annotation)
    if value is None:
        if field.default is None:
            return None
        message = f"{field.spelling} is not {shape.expects}"
        raise ValueError(message)
    if not shape.many:
        return _convert_one(field, shape, value)
    values = [value] if isinstance(value, str) else list(value)
    return [_convert_one(field, shape, item) for item in values]


def _convert_one(field: Field, shape: Shape, value: Any) -> Any:
    wrong = f"{field.spelling} {str(value)!r} is not {shape.expects}"
    if isinstance(value, str):
        if field.choices and value not in field.choices:
            message = f"{field.spelling} {value!r} is not one of {', '.join(field.choices)}"
            raise ValueError(message)
        try:
            return shape.parse(value)
        except ValueError:
            raise ValueError(wrong + shape.hint(value)) from None
    if shape.choices and not isinstance(value, Enum):
        # Code may give a value of an Enum or a Literal: 0 for the member of an IntEnum.
        if str(value) not in shape.choices:
            raise ValueError(wrong)
        return shape.parse(str(value))
    # In Python True is an int, but `limit=True` is surely a mistake.
    if not isinstance(value, shape.accepts) or (
        isinstance(value, bool) and bool not in shape.accepts
    ):
        raise ValueError(wrong)
    return value
