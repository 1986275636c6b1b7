"""Read a pickle without running anything in it.

ARQ stores jobs and results as pickles, and a pickle is a program: whoever may write to Redis could
make the process that lists jobs call anything. This reader interprets the opcodes itself. Classes
and functions become an `Opaque` with their name, which is never imported; calls are recorded, not
made; an opcode that is not in the table is an error.

Restricting `pickle.Unpickler` by `find_class` is not enough. No code runs then, but dicts and
sets still hash their keys: a tuple of tuples in 200 bytes, or numbers chosen to collide, take
forever. Its memo and its bytearrays have the size that the pickle asks for, gigabytes in 10 bytes.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any

MOST_BYTES = 4 * 1024 * 1024
"""A larger pickle is not read."""
MOST_STEPS = 100_000
"""Opcodes that are read at most: about 50 ms."""
_LONGEST_NAME = 500  # of a module, and of a name in it
_LARGEST_KEY = 2**60  # hashes of larger numbers are taken modulo 2**61 - 1, so they can collide


class UnreadableError(ValueError):
    """The pickle is broken, too large, or not one of ARQ's; the message says which."""


class Opaque:
    """An inert placeholder for an object that was not made.

    Attributes:
        name: Of the class or function: "app.errors.OutOfStock", without "builtins.".
        args: What it would have been called with; None for the class itself.
        items: What would have been added to it: the members of a set, for instance.
        state: What would have become its attributes, if the pickle has any.
    """

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name, self.args = name, args
        self.items: list[Any] = []
        self.state: Any = None


def read(data: bytes) -> Any:
    """Return the value of a pickle of any protocol, made of plain containers and `Opaque`.

    Raises:
        UnreadableError: It is broken or too large.
    """
    if len(data) > MOST_BYTES:
        raise UnreadableError(f"{len(data)} bytes are more than the {MOST_BYTES} that are read")
    try:
        return _run(data)
    except UnreadableError:
        raise
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, EOFError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None
    except (struct.error, MemoryError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None


def _run(data: bytes) -> Any:
    machine = _Machine()
    for step, (opcode, arg, _) in enumerate(pickletools.genops(data)):
        if step > MOST_STEPS:
            raise UnreadableError(f"more than {MOST_STEPS} steps")
        if opcode.name in _SCALARS:
            machine.push(arg)
        elif opcode.name not in _NO_EFFECT:
            _STEPS[opcode.name](machine, arg)
    return machine.pop()


class _Machine:
    """The stack and the memo of one pickle; `pickletools` documents each opcode.

    MARK starts a new stack, and the opcode that takes everything since the mark ends it.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def discard(self) -> None:
        """Remove the topmost value, or the mark if it is on top."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def remember(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def push_tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def extend(self, values: list[Any]) -> None:
        """Add to the list on top of the stack; an `Opaque` is a set, or a list of another class."""
        target = self.stack[-1]
        (target.items if isinstance(target, Opaque) else target).extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Add keys and values to the dict on top, or to an `Opaque` that is another mapping."""
        target = self.stack[-1]
        pairs = [
            (_safe_key(key), item) for key, item in zip(values[::2], values[1::2], strict=True)
        ]
        if isinstance(target, Opaque):
            target.items.append(dict(pairs))
        else:
            target.update(pairs)

    def push_dict(self, values: list[Any]) -> None:
        self.push({})
        self.set_items(values)

    def call(self) -> None:
        args, function = self.pop(), self.pop()
        self.push_call(function, args if isinstance(args, tuple) else (args,))

    def call_with_keywords(self) -> None:
        keywords = self.pop()
        self.call()
        self.stack[-1].state = keywords

    def call_from_mark(self) -> None:
        function, *args = self.pop_to_mark()
        self.push_call(function, tuple(args))

    def push_call(self, function: Any, args: tuple[Any, ...]) -> None:
        name = function.name if isinstance(function, Opaque) else f"<{type(function).__name__}>"
        self.push(Opaque(name, args))

    def set_state(self) -> None:
        state = self.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].state = state

    def push_name(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnreadableError("a name that is no text")
        self.push(_named(module, name))


def _safe_key(key: Any) -> Any:
    """Return the key, or an `Opaque` for one whose hash or comparison could take forever.

    The hash of a tuple is computed anew each time: nested 60 times, each level twice in the next
    one, it takes 2 ** 60 steps.
    """
    if isinstance(key, int) and abs(key) <= _LARGEST_KEY:
        return key
    if key is None or isinstance(key, str | bytes | float | Opaque):
        return key
    return Opaque(type(key).__name__, (key,))


def _named(module: str, name: str) -> Opaque:
    # Each use of a name makes a new text: a long name that is used often would fill the memory.
    module, name = module[:_LONGEST_NAME], name[:_LONGEST_NAME]
    # The old protocols have two other names for builtins.
    is_builtin = module in {"builtins", "__builtin__", "exceptions"}
    return Opaque(name if is_builtin else f"{module}.{name}")


def _global(arg: str) -> Opaque:
    module, name = arg.split(" ", 1)
    return _named(module, name)


_NO_EFFECT = frozenset(("PROTO", "FRAME", "STOP", "READONLY_BUFFER"))
_SCALARS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT".split()
)
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),  # noqa: FBT003
    "NEWFALSE": lambda m, _: m.push(False),  # noqa: FBT003
    # The stack and the memo.
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.discard(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, arg: m.remember(arg)),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, arg: m.push(m.memo[arg])),
    # Containers. Sets are not made: they would hash their members.
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_SET": lambda m, _: m.push(Opaque("set", ())),
    "LIST": lambda m, _: m.push(m.pop_to_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.push_tuple(1),
    "TUPLE2": lambda m, _: m.push_tuple(2),
    "TUPLE3": lambda m, _: m.push_tuple(3),
    "DICT": lambda m, _: m.push_dict(m.pop_to_mark()),
    "FROZENSET": lambda m, _: m.push(Opaque("frozenset", (m.pop_to_mark(),))),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: m.extend(m.pop_to_mark())),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    # Names, calls and states: recorded only.
    "GLOBAL": lambda m, arg: m.push(_global(arg)),
    "STACK_GLOBAL": lambda m, _: m.push_name(),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda m, arg: m.push(Opaque(f"<extension {arg}>"))),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda m, _: m.call()),
    "NEWOBJ_EX": lambda m, _: m.call_with_keywords(),
    "OBJ": lambda m, _: m.call_from_mark(),
    "INST": lambda m, arg: m.push_call(_global(arg), tuple(m.pop_to_mark())),
    "BUILD": lambda m, _: m.set_state(),
    "PERSID": lambda m, arg: m.push(Opaque("<persistent id>", (arg,))),
    "BINPERSID": lambda m, _: m.push(Opaque("<persistent id>", (m.pop(),))),
    "NEXT_BUFFER": lambda m, _: m.push(Opaque("<buffer>")),
}
