"""Read a pickle without running anything in it.

ARQ stores jobs and results as pickles, and a pickle is a program: anyone who can write to Redis
could make the process that lists jobs call any function. This reader interprets the opcodes itself;
`pickletools` describes what each one takes from the stack. A class or function becomes an `Opaque`
with its name and is never imported. A call is recorded, not run. An unknown opcode is an error.

Restricting `pickle.Unpickler` with `find_class` is not enough. No code runs then, but dicts and
sets still hash their keys. A tuple of tuples in 200 bytes, or colliding numbers, take forever.
`Unpickler` also allocates its memo and bytearrays with the size that the pickle requests: 10 bytes
can request gigabytes.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

MOST_BYTES = 4 * 1024 * 1024
"""Size of the largest pickle that is read."""
MOST_STEPS = 100_000
"""Largest number of opcodes that are read, which takes about 0.2 s."""
_LONGEST_NAME = 500  # characters of a module's name, and of a name in it
_LARGEST_KEY = 2**60  # hashes are modulo 2**61 - 1, so larger numbers can collide


class UnreadableError(ValueError):
    """The pickle is broken, too large, or not written by ARQ; the message says which."""


class Opaque:
    """An inert placeholder for an object that was not created.

    Attributes:
        name: Name of the class or function, "app.errors.OutOfStock"; without "builtins.".
        args: Arguments of the recorded call; None for the class or function itself.
        items: Items that the pickle adds to it, such as the members of a set.
        state: State that the pickle sets, usually its attributes; None if there is none.
    """

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name, self.args = name, args
        self.items: list[Any] = []
        self.state: Any = None


class Pickled(NamedTuple):
    """The content of a pickle. All positions are offsets in its bytes.

    Attributes:
        value: The value, in plain containers and `Opaque` objects.
        begins: Starts of the keys and values of the outermost dict: key, value, key, value, ...
        end: Position of the opcode that adds them to the dict.
        frames: Positions of the FRAME opcodes.
    """

    value: Any
    begins: list[int]
    end: int
    frames: list[int]


def read(data: bytes) -> Pickled:
    """Read a pickle of any protocol.

    Raises:
        UnreadableError: It is broken or too large.
    """
    if len(data) > MOST_BYTES:
        raise UnreadableError(f"{len(data)} bytes are more than the limit of {MOST_BYTES}")
    try:
        # pickletools reads strings of protocol 0 as Python source and warns about unknown escapes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return _Machine().run(data)
    except UnreadableError:
        raise
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, EOFError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None
    except (struct.error, MemoryError) as exc:
        raise UnreadableError(f"not a pickle: {exc}") from None


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.begins: list[int] = []  # the start of each entry of the stack in the pickle
        self.marks: list[int] = []  # which entries of the stack are marks
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Pickled:
        dict_begins, dict_end, frames = list[int](), 0, list[int]()
        for step, (opcode, arg, position) in enumerate(pickletools.genops(data)):
            name, at = opcode.name, position or 0
            if step > MOST_STEPS:
                raise UnreadableError(f"more than {MOST_STEPS} steps")
            if name in _SCALARS:  # half of all opcodes; they take nothing from the stack
                self.stack.append(arg)
                self.begins.append(at)
                continue
            if name == "FRAME":
                frames.append(at)
            if name in {"PROTO", "FRAME"}:
                continue
            first = self._first_taken(name)
            if name == "SETITEMS":  # the last SETITEMS fills the outermost dict
                dict_begins, dict_end = self.begins[first + 2 :], at
            values = self.stack[first:]
            # What an opcode creates from values starts where the first of these values starts.
            begin = self.begins[first] if values else at
            self.stack[first:] = added = self._do(name, values, arg)
            self.begins[first:] = [begin, at][: len(added)]  # DUP alone adds two
        return Pickled(self.stack[-1], dict_begins, dict_end, frames)

    def _first_taken(self, name: str) -> int:
        """Return the position of the lowest entry of the stack that an opcode takes."""
        taken, below_mark = _TAKES[name]
        first = len(self.stack) - taken
        marks = self.marks
        if below_mark is not None:  # it takes everything above the last mark
            first = marks.pop() - below_mark
        elif name == "POP" and marks and marks[-1] == first:
            marks.pop()
        # An opcode must not take the last mark itself, nor more than the stack has.
        if first <= (marks[-1] if marks else -1):
            raise UnreadableError("an opcode takes more than the stack has")
        return first

    def _do(self, name: str, values: list[Any], arg: Any) -> list[Any]:
        """Return the entries that an opcode pushes in place of the values that it takes."""
        match name:
            case "POP" | "POP_MARK":
                return []
            case "STOP":
                return values
            case "MARK":
                self.marks.append(len(self.stack))
                return [None]
            case "DUP":
                return values * 2
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = self.stack[-1]
                return []
            case "MEMOIZE":
                self.memo[len(self.memo)] = values[0]
                return values
            case "GET" | "BINGET" | "LONG_BINGET":
                return [self.memo[arg]]
        return [_VALUES[name](values, arg)]


def _extended(target: Any, values: list[Any]) -> Any:
    """Add values to a list; an `Opaque` is a set, or a list of another class."""
    (target.items if isinstance(target, Opaque) else target).extend(values)
    return target


def _updated(target: Any, values: list[Any]) -> Any:
    """Add keys and values to a dict; an `Opaque` is a mapping of another class."""
    pairs = dict(zip(map(_safe_key, values[::2]), values[1::2], strict=True))
    if isinstance(target, Opaque):
        target.items.append(pairs)
    else:
        target.update(pairs)
    return target


def _safe_key(key: Any) -> Any:
    """Return the key, or an `Opaque` if hashing or comparing it could take forever."""
    # The hash of a tuple is not cached. A tuple with 60 levels, each of which has the next one
    # twice, takes 2 ** 60 steps.
    if isinstance(key, int) and abs(key) <= _LARGEST_KEY:
        return key
    if key is None or isinstance(key, str | bytes | float | Opaque):
        return key
    return Opaque(type(key).__name__, (key,))


def _named(module: Any, name: Any) -> Opaque:
    if not isinstance(name, str) or not isinstance(module, str):
        raise UnreadableError("a name is not a string")
    # Each use of a name creates a new string, so a long name used often would fill the memory.
    module, name = module[:_LONGEST_NAME], name[:_LONGEST_NAME]
    # Pickles of old protocols have two other names for the builtins module.
    is_builtin = module in {"builtins", "__builtin__", "exceptions"}
    return Opaque(name if is_builtin else f"{module}.{name}")


def _called(function: Any, args: Any, keywords: Any = None) -> Opaque:
    name = function.name if isinstance(function, Opaque) else f"<{type(function).__name__}>"
    made = Opaque(name, args if isinstance(args, tuple) else (args,))
    made.state = keywords
    return made


def _with_state(target: Any, state: Any) -> Any:
    if isinstance(target, Opaque):
        target.state = state
    return target


_SCALARS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT".split()
)
_TAKES = {
    # How many entries of the stack an opcode takes, and how many of them are below the mark.
    opcode.name: (
        len(opcode.stack_before),
        opcode.stack_before.index(pickletools.markobject)
        if pickletools.markobject in opcode.stack_before
        else None,
    )
    for opcode in pickletools.opcodes
}
_VALUES: dict[str, Callable[[list[Any], Any], Any]] = {
    # `taken` are the entries taken from the stack, including the mark; `arg` is in the pickle.
    "NONE": lambda *_: None,
    "NEWTRUE": lambda *_: True,
    "NEWFALSE": lambda *_: False,
    # Containers. Sets are not created, because they would hash their members.
    "EMPTY_LIST": lambda *_: [],
    "EMPTY_TUPLE": lambda *_: (),
    "EMPTY_DICT": lambda *_: {},
    "EMPTY_SET": lambda *_: Opaque("set", ()),
    "LIST": lambda taken, _: taken[1:],
    "TUPLE": lambda taken, _: tuple(taken[1:]),
    **dict.fromkeys(("TUPLE1", "TUPLE2", "TUPLE3"), lambda taken, _: tuple(taken)),
    "DICT": lambda taken, _: _updated({}, taken[1:]),
    "FROZENSET": lambda taken, _: Opaque("frozenset", (taken[1:],)),
    "APPEND": lambda taken, _: _extended(taken[0], taken[1:]),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda taken, _: _extended(taken[0], taken[2:])),
    "SETITEM": lambda taken, _: _updated(taken[0], taken[1:]),
    "SETITEMS": lambda taken, _: _updated(taken[0], taken[2:]),
    # Names, calls and states are only recorded.
    "GLOBAL": lambda _, arg: _named(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda taken, _: _named(*taken),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda _, arg: Opaque(f"<extension {arg}>")),
    **dict.fromkeys(("REDUCE", "NEWOBJ", "NEWOBJ_EX"), lambda taken, _: _called(*taken)),
    "OBJ": lambda taken, _: _called(taken[1], tuple(taken[2:])),
    "INST": lambda taken, arg: _called(_named(*arg.split(" ", 1)), tuple(taken[1:])),
    "BUILD": lambda taken, _: _with_state(*taken),
    "PERSID": lambda _, arg: Opaque("<persistent id>", (arg,)),
    "BINPERSID": lambda taken, _: Opaque("<persistent id>", (taken[0],)),
    "NEXT_BUFFER": lambda *_: Opaque("<buffer>"),
    "READONLY_BUFFER": lambda taken, _: taken[0],
}
