"""Read a pickle without running anything that stands in it.

ARQ keeps jobs and results as pickles, and a pickle is a program: whoever may write to Redis could
let it call anything in the process that lists jobs. This reader is a machine of its own over the
opcodes: classes and functions become an `Opaque` with their name, which is never imported, and
calls are noted, not made. Neither is anything hashed or compared whose cost the pickle decides.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any

MOST_BYTES = 4 * 1024 * 1024
"""A larger pickle is not read."""
MOST_STEPS = 100_000
"""Opcodes: about 50 ms."""
_LONGEST_NAME = 500  # of a module, and of what is in it
_LARGEST_KEY = 2**60  # above it, numbers can be chosen whose hashes are all the same


class UnreadableError(ValueError):
    """The pickle is broken, too large, or not one of ARQ's; says which."""


class Opaque:
    """What stands for an object that was not made.

    Attributes:
        name: Of the class or function: "app.errors.OutOfStock", without "builtins.".
        args: What it would have been called with; None for the class itself.
        items: What would have been added to it: the members of a set, for instance.
        state: What would have been its attributes, if the pickle says so.
    """

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name, self.args = name, args
        self.items: list[Any] = []
        self.state: Any = None


class Pickled:
    """A pickle that has been read.

    Attributes:
        value: What it holds, in plain containers and `Opaque` objects.
        starts: Where the keys and values of its outermost dict begin: key, value, key, value, ...
        end: Where the opcode stands that puts them into the dict.
        frames: Where the opcodes stand that announce frames.
    """

    def __init__(self, value: Any, starts: list[int], end: int, frames: list[int]) -> None:
        self.value = value
        self.starts, self.end, self.frames = starts, end, frames


def read(data: bytes) -> Pickled:
    """Read a pickle of any protocol.

    Raises:
        UnreadableError: It is broken or too large.
    """
    if len(data) > MOST_BYTES:
        raise UnreadableError(f"{len(data)} bytes are more than the {MOST_BYTES} that are read")
    machine = _Machine()
    try:
        return machine.run(data)
    except UnreadableError:
        raise
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, EOFError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None
    except (struct.error, MemoryError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None


class _Machine:
    """The stack of one pickle; see `pickletools` for what each opcode means."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.arg: Any = None
        self._starts: list[int] = []
        self._low = 0
        self._outermost: tuple[list[int], int] = ([], 0)
        self._frames: list[int] = []

    def run(self, data: bytes) -> Pickled:
        for step, (opcode, arg, at) in enumerate(pickletools.genops(data)):
            if step > MOST_STEPS:
                raise UnreadableError(f"more than {MOST_STEPS} steps")
            name, self.arg = opcode.name, arg
            if name == "FRAME":
                self._frames.append(at or 0)
            elif name != "STOP":
                self._do(name, at or 0)
        starts, end = self._outermost
        return Pickled(self.pop(), starts, end, self._frames)

    def _do(self, name: str, at: int) -> None:
        """Do one opcode, and note where what it leaves on the stack begins."""
        if name in {"SETITEM", "SETITEMS"}:
            self._outermost = (self._starts[1:], at)  # the last one fills the outermost dict
        self._low = len(self.stack)
        if name in _SCALARS:
            self.stack.append(self.arg)
        else:
            _STEPS[name](self)
        begin = self._starts[self._low] if self._low < len(self._starts) else at
        del self._starts[self._low :]
        self._starts += [begin] * (len(self.stack) - self._low)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        self._low = min(self._low, len(self.stack))
        return value

    def pop_to_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        self._low = min(self._low, mark)
        return values


def _mark(m: _Machine) -> None:
    m.marks.append(len(m.stack))


def _append(m: _Machine) -> None:
    _extend(m, [m.pop()])


def _extend(m: _Machine, values: list[Any]) -> None:
    """Add to the list, or to the set, on top of the stack."""
    target = m.stack[-1]
    # An Opaque here is a set, or a list of a class of its own.
    (target.items if isinstance(target, Opaque) else target).extend(values)


def _set_items(m: _Machine, values: list[Any]) -> None:
    target = m.stack[-1]
    pairs = [(_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True)]
    if isinstance(target, Opaque):  # a mapping of a class of its own
        target.items.append(dict(pairs))
    else:
        target.update(pairs)


def _key(key: Any) -> Any:
    """Return what may be a key here: the hash of a tuple may take for ever, and end the process."""
    if isinstance(key, int) and abs(key) > _LARGEST_KEY:
        return _odd(key)
    return key if key is None or isinstance(key, str | bytes | int | float | Opaque) else _odd(key)


def _odd(key: Any) -> Opaque:
    return Opaque(type(key).__name__, (key,))


def _call(m: _Machine) -> None:
    args, function = m.pop(), m.pop()
    m.push(Opaque(_name(function), args if isinstance(args, tuple) else (args,)))


def _call_with_keywords(m: _Machine) -> None:
    keywords = m.pop()
    _call(m)
    m.stack[-1].state = keywords


def _call_from_mark(m: _Machine) -> None:
    function, *args = m.pop_to_mark()
    m.push(Opaque(_name(function), tuple(args)))


def _build(m: _Machine) -> None:
    state = m.pop()
    if isinstance(m.stack[-1], Opaque):
        m.stack[-1].state = state


def _name(function: Any) -> str:
    return function.name if isinstance(function, Opaque) else f"<{type(function).__name__}>"


def _qualified(module: Any, name: Any) -> Opaque:
    # Each name is a new text: a long one, named often, would fill the memory.
    module, name = module[:_LONGEST_NAME], name[:_LONGEST_NAME]
    # What Python 3 calls builtins has two other names in the old protocols.
    here = module in {"builtins", "__builtin__", "exceptions"}
    return Opaque(str(name) if here else f"{module}.{name}")


def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise UnreadableError("a name that is no text")
    m.push(_qualified(module, name))


def _memoize(m: _Machine) -> None:
    m.memo[len(m.memo)] = m.stack[-1]


def _drop(m: _Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.pop()


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def step(m: _Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)))

    return step


def _with(function: Callable[[_Machine, list[Any]], None]) -> Callable[[_Machine], None]:
    return lambda m: function(m, m.pop_to_mark())


def _dict(m: _Machine) -> None:
    values = m.pop_to_mark()
    m.push({})
    _set_items(m, values)


_SCALARS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT".split()
)
_STEPS: dict[str, Callable[[_Machine], Any]] = {
    "PROTO": lambda _: None,
    "NONE": lambda m: m.push(None),
    "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False),
    "MARK": _mark,
    "POP": _drop,
    "POP_MARK": lambda m: m.pop_to_mark(),
    "DUP": lambda m: m.push(m.stack[-1]),
    "EMPTY_LIST": lambda m: m.push([]),
    "EMPTY_TUPLE": lambda m: m.push(()),
    "EMPTY_DICT": lambda m: m.push({}),
    "EMPTY_SET": lambda m: m.push(Opaque("set", ())),
    "LIST": lambda m: m.push(m.pop_to_mark()),
    "TUPLE": lambda m: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "DICT": _dict,
    "FROZENSET": lambda m: m.push(Opaque("frozenset", (m.pop_to_mark(),))),
    "APPEND": _append,
    "APPENDS": _with(_extend),
    "ADDITEMS": _with(_extend),
    "SETITEM": lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
    "SETITEMS": _with(_set_items),
    "PUT": lambda m: m.memo.__setitem__(m.arg, m.stack[-1]),
    "BINPUT": lambda m: m.memo.__setitem__(m.arg, m.stack[-1]),
    "LONG_BINPUT": lambda m: m.memo.__setitem__(m.arg, m.stack[-1]),
    "MEMOIZE": _memoize,
    "GET": lambda m: m.push(m.memo[m.arg]),
    "BINGET": lambda m: m.push(m.memo[m.arg]),
    "LONG_BINGET": lambda m: m.push(m.memo[m.arg]),
    "GLOBAL": lambda m: m.push(_qualified(*m.arg.split(" ", 1))),
    "STACK_GLOBAL": _stack_global,
    "EXT1": lambda m: m.push(Opaque(f"<extension {m.arg}>")),
    "EXT2": lambda m: m.push(Opaque(f"<extension {m.arg}>")),
    "EXT4": lambda m: m.push(Opaque(f"<extension {m.arg}>")),
    "REDUCE": _call,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "OBJ": _call_from_mark,
    "INST": lambda m: m.push(Opaque(_qualified(*m.arg.split(" ", 1)).name, tuple(m.pop_to_mark()))),
    "BUILD": _build,
    "PERSID": lambda m: m.push(Opaque("<persistent id>", (m.arg,))),
    "BINPERSID": lambda m: m.push(Opaque("<persistent id>", (m.pop(),))),
    "NEXT_BUFFER": lambda m: m.push(Opaque("<buffer>")),
    "READONLY_BUFFER": lambda _: None,
}
