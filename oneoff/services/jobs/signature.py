"""Check the arguments of a task against its signature, and convert them to its annotated types."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_type_hints

from oneoff.core.conversion import Shape, shape_of
from oneoff.core.errors import UsageError
from oneoff.utils.suggestions import similar

_SPREAD = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_of(
    name: str, coroutine: Callable[..., Any], pairs: Sequence[str], json_text: str
) -> dict[str, Any]:
    """Return the arguments of one call, by name.

    Args:
        name: Name of the task, for messages.
        coroutine: Function of the task; its first parameter is ARQ's context.
        pairs: Arguments as `name=value`. Values are converted like the inputs of a command. If
            commands do not accept the type, the value is JSON.
        json_text: A JSON object of arguments by name; empty for none.

    Raises:
        UsageError: Lists every problem with the arguments.
    """
    arguments = _Arguments(coroutine)
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if equals:
            arguments.give(key, text, arguments.from_text)
        else:
            arguments.problems.append(f"{pair!r} is not name=value")
    for key, value in _from_json(json_text, arguments.problems).items():
        arguments.give(key, value, arguments.from_value)
    arguments.check_missing()
    if arguments.problems:
        raise UsageError(
            arguments.problems,
            try_=f"{name}({arguments.declarations()})",
            code="bad-task-arguments",
        )
    return arguments.values


def _from_json(text: str, problems: list[str]) -> Mapping[str, Any]:
    try:
        values = json.loads(text) if text else {}
    except (ValueError, RecursionError) as exc:
        problems.append(f"--args-json is not JSON: {exc}")
        return {}
    if not isinstance(values, dict):
        problems.append('--args-json is not an object such as {"user_id": 3}')
        return {}
    return values


class _Arguments:
    """The parameters of a task, and the values given for them."""

    def __init__(self, coroutine: Callable[..., Any]) -> None:
        _context, *parameters = inspect.signature(coroutine).parameters.values()
        self._parameters = {one.name: one for one in parameters if one.kind not in _SPREAD}
        self._takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
        self._hints = _hints(coroutine)
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []

    def give(self, name: str, value: Any, convert: Callable[[str, Any], Any]) -> None:
        """Convert and store one argument, or record what is wrong with it."""
        if name in self.values:
            self.problems.append(f"{name} is given twice")
        elif name not in self._parameters and not self._takes_any:
            near = similar(name, self._parameters, limit=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.problems.append(f"there is no argument {name!r}{meant}")
        else:
            self.values[name] = None  # a wrong value is not reported as missing too
            try:
                self.values[name] = convert(name, value)
            except ValueError as exc:
                self.problems.append(str(exc))

    def check_missing(self) -> None:
        """Record each parameter without a value or a default."""
        for name, parameter in self._parameters.items():
            if name not in self.values and parameter.default is parameter.empty:
                self.problems.append(f"the argument {name} is missing")

    def from_text(self, name: str, text: str) -> Any:
        """Convert the text after `name=`."""
        hint = self._hints.get(name, Any)
        if hint in {Any, object}:
            return text
        shape = _shape(hint)
        if shape is not None and not shape.many:
            return _parsed(name, text, shape)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            message = f"{name} {text!r} is not JSON, as its type {_spelling(hint)} requires"
            raise ValueError(message) from None
        return self.from_value(name, value)

    def from_value(self, name: str, value: Any) -> Any:
        """Check a value that was read from JSON."""
        hint = self._hints.get(name, Any)
        if hint in {Any, object} or (value is None and NoneType in get_args(hint)):
            return value
        shape = _shape(hint)
        if shape is None:
            return _validated(name, value, hint)
        if not shape.many:
            return _checked(name, value, shape)
        if not isinstance(value, list):
            message = f"{name} {value!r} is not a list"
            raise ValueError(message)  # noqa: TRY004 - all problems are collected as one kind
        return [_checked(name, item, shape) for item in value]

    def declarations(self) -> str:
        """Return the parameters as the function declares them."""
        return ", ".join(self._declaration(one) for one in self._parameters.values())

    def _declaration(self, parameter: inspect.Parameter) -> str:
        hint = self._hints.get(parameter.name, Any)
        text = parameter.name if hint is Any else f"{parameter.name}: {_spelling(hint)}"
        return text if parameter.default is parameter.empty else f"{text} = {parameter.default!r}"


def _hints(coroutine: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(coroutine)
    except (NameError, TypeError, AttributeError):
        # An annotation names something that is imported under TYPE_CHECKING only. Use the
        # annotations that are not strings.
        hints = inspect.get_annotations(coroutine)
        return {name: hint for name, hint in hints.items() if not isinstance(hint, str)}


def _shape(hint: Any) -> Shape | None:
    try:
        return shape_of(hint)
    except TypeError:
        return None


def _parsed(name: str, text: str, shape: Shape) -> Any:
    try:
        return shape.parse(text)
    except ValueError:
        message = f"{name} {text!r} is not {shape.expects}{shape.hint(text)}"
        raise ValueError(message) from None


def _checked(name: str, value: Any, shape: Shape) -> Any:
    if isinstance(value, str) and str not in shape.accepts:
        return _parsed(name, value, shape)
    is_flag = isinstance(value, bool) and bool not in shape.accepts
    if is_flag or not isinstance(value, shape.accepts):
        message = f"{name} {json.dumps(value)} is not {shape.expects}"
        raise ValueError(message)
    return value


def _validated(name: str, value: Any, hint: Any) -> Any:
    """Check dicts, models, dataclasses and similar types with pydantic."""
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        message = f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise ValueError(message) from None
    except (PydanticSchemaGenerationError, PydanticUserError):
        message = f"{name} has the type {_spelling(hint)}, which can't be given on a command line"
        raise ValueError(message) from None


def _spelling(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
