"""An engine of a database that oneoff can't make read-only is refused in guarded runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import NullPool, QueuePool

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.database.guards.other_engines import read_only_engines


class Unknown(SQLiteDialect_pysqlite):
    """A dialect with another name, as that of MySQL would be."""

    name = "elsewhere"
    supports_statement_cache = True


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Open an engine of the unknown dialect, with one empty table."""
    registry.register("elsewhere", __name__, "Unknown")
    registry.impls["elsewhere"] = lambda: Unknown
    engine = create_engine(f"elsewhere:///{tmp_path}/other.sqlite3")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (text varchar)"))
    yield engine
    engine.dispose()


def write(engine: Engine) -> None:
    """Write and commit through the engine."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO notes VALUES ('x')"))


@pytest.mark.parametrize(
    ("mode", "error"), [(Mode.ROLLBACK, DryRunViolation), (Mode.READ_ONLY, ReadOnlyViolation)]
)
def test_it_is_refused(engine: Engine, mode: Mode, error: type[CommandError]) -> None:
    """The error names the database, and is kept if the command ignores it."""
    with read_only_engines(mode) as protection:
        with pytest.raises(error, match="elsewhere:///"):
            write(engine)
        refused = protection.refused

    assert isinstance(refused, error)
    with engine.connect() as connection:
        assert 0 == connection.scalar(text("SELECT count(*) FROM notes"))


def test_a_refused_connection_returns_to_its_pool(engine: Engine) -> None:
    """Even while the error, and with it the code that wanted to connect, is referenced."""
    with read_only_engines(Mode.READ_ONLY), pytest.raises(ReadOnlyViolation) as refused:
        write(engine)

    assert "elsewhere:///" in refused.value.message
    assert isinstance(engine.pool, QueuePool)
    assert 0 == engine.pool.checkedout()


class Driver:
    """A connection of an unknown driver."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Accept every call."""
        return lambda *_: None


def test_a_raw_connection_of_an_unknown_driver_is_refused() -> None:
    """Code that uses it can write without SQLAlchemy."""
    pool: NullPool = NullPool(Driver)  # type: ignore[arg-type]  # all that the pool needs of one

    with (
        read_only_engines(Mode.READ_ONLY),
        pytest.raises(ReadOnlyViolation, match="with the driver"),
    ):
        pool.connect()


def test_it_can_be_used_in_a_real_run(engine: Engine) -> None:
    """There is nothing to protect."""
    with read_only_engines(Mode.ROLLBACK):
        pass
    write(engine)

    with engine.connect() as connection:
        assert 1 == connection.scalar(text("SELECT count(*) FROM notes"))
