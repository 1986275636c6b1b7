"""Calculate the bottleneck of a batch on many workers from a few measured numbers.

No batch is run. `docs/explanation/scale.md` explains the model. The inputs are options, and the
same inputs give the same output. The defaults are ten billion rows on 200 workers. The measured
numbers are for one statement per range, on two cores that were also used by other processes.
"""

import argparse
import heapq
import random
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from oneoff.services.batch.rows.ranges import BLOCKS_PER_SHARD  # noqa: E402
from oneoff.services.batch.run.bounds import TURN  # noqa: E402 - the project is found by the line above
from oneoff.services.batch.run.fleet import POLL, RECHECK  # noqa: E402

LINE = "{:<46} {:>18}  {}"
PAGE = 8192
CONNECTIONS_PER_SHARD = 2
"""One connection for the batches, and one for the run's record and its lock."""
SUPERVISOR_CONNECTIONS = 3
FREE_CONNECTIONS = 20
"""Connections for everything else: the application, operators, replication."""
REDIS_COMMANDS = 12
"""Redis commands of ARQ and oneoff for one job, from queueing to its end."""
WORKER_POLL = 0.5
"""Seconds between two polls of the queue by an ARQ worker; each poll is two commands."""
SEEDS = 20


def main() -> int:
    """Print the results."""
    given = _parse()
    _title(given)
    rate, bound = _rates(given)
    print()
    _connections(given)
    _checkpoints(given, rate)
    _redis(given)
    _supervisor(given)
    print()
    _balance(given, given.rows / rate)
    print(f"\nbound by {bound}: see docs/explanation/scale.md for what to set")
    return 0


def _title(given: argparse.Namespace) -> None:
    print(f"{given.rows:,} rows, {given.workers} workers, batches of {given.batch:,} rows\n")


def _rates(given: argparse.Namespace) -> tuple[float, str]:
    """Print the rows per second of which each part is capable; return the lowest and its name."""
    # A batch changes each page once. PostgreSQL writes a full page image to the WAL at the first
    # change after a checkpoint, so each page costs one image.
    whole_pages = PAGE / given.rows_per_page * given.full_page
    checkpoint = given.checkpoint_wal / given.batch
    wal = given.row_wal + whole_pages + checkpoint
    commits = given.group / (given.fsync_ms / 1000)
    rates = {
        "the workers": given.workers * given.worker_rate,
        "the server's cores": given.cores * given.core_rate,
        "WAL to the disk": given.disk_mb * 1e6 / wal,
        "WAL to the replica": given.replica_mb * 1e6 / wal,
        "commits": commits * given.batch,
    }
    bound = min(rates, key=lambda name: rates[name])
    for name, rate in rates.items():
        hours = given.rows / rate / 3600
        note = "<- the bound" if name == bound else ""
        print(LINE.format(f"rows/s: {name}", f"{rate:,.0f}", f"{hours:8.1f} h  {note}"))
    enough = rates[bound] / given.worker_rate
    print(LINE.format("workers that reach this bound", f"{enough:,.0f}", "more would only wait"))
    total = given.rows * wal / 1e12
    print(LINE.format("WAL in all", f"{total:,.2f} TB", f"{wal:.0f} bytes a row"))
    share = checkpoint / wal
    print(LINE.format("WAL of the checkpoints", f"{checkpoint:.2f} B/row", f"{share:.2%} of it"))
    return rates[bound], bound


def _connections(given: argparse.Namespace) -> None:
    needed = given.workers * CONNECTIONS_PER_SHARD + SUPERVISOR_CONNECTIONS + FREE_CONNECTIONS
    memory = needed * given.backend_mb / 1000
    note = f"{memory:.1f} GB of backends"
    print(LINE.format("max_connections", f"{needed:,}", note))


def _checkpoints(given: argparse.Namespace, rate: float) -> None:
    a_second = rate / given.batch
    of_one = a_second / given.workers
    print(LINE.format("checkpoints/s, each shard its own row", f"{of_one:,.2f}", "of one row"))
    # A shared row would be locked from its update until the end of the commit.
    shared = 1000 / (given.fsync_ms + given.rtt_ms)
    fits = "enough" if shared >= a_second else "too few: it would be the bound"
    note = f"of the {a_second:,.0f} needed; {fits}"
    print(LINE.format("checkpoints/s, if all shared one row", f"{shared:,.0f}", note))


def _redis(given: argparse.Namespace) -> None:
    jobs = given.workers / TURN
    polls = given.workers * 2 / WORKER_POLL
    waiting = max(given.shards - given.workers, 0) * 3 / RECHECK
    total = jobs * REDIS_COMMANDS + polls + waiting
    share = total / given.redis_rate
    print(LINE.format("Redis commands/s", f"{total:,.0f}", f"{share:.1%} of {given.redis_rate:,}"))


def _supervisor(given: argparse.Namespace) -> None:
    read = given.shards * given.shard_bytes / POLL / 1e6
    print(LINE.format("the supervisor reads", f"{read:,.1f} MB/s", f"{given.shards:,} shards"))
    starts = given.workers / TURN
    busy = starts * given.workers * given.rtt_ms / 1000
    note = "of one connection: each start asks for every open run's lock"
    print(LINE.format("starts of runs look for dead ones", f"{busy:.1%}", note))


def _balance(given: argparse.Namespace, ideal: float) -> None:
    """Print how much later the last worker ends, for several numbers of shards."""
    print(LINE.format("shards", "time", f"ideal is {ideal / 3600:.1f} h"))
    for shards in _numbers(given):
        spans = [_makespan(shards, given.workers, seed) for seed in range(SEEDS)]
        longer = statistics.median(spans)
        note = f"the last worker ends {longer - 1:.0%} late"
        print(LINE.format(f"{shards:,}", f"{ideal * longer / 3600:.1f} h", note))


def _numbers(given: argparse.Namespace) -> Iterator[int]:
    for factor in (1, 2, 4, 10):
        yield given.workers * factor


def _makespan(shards: int, workers: int, seed: int) -> float:
    """Return the total time, as a multiple of the time with perfectly balanced work."""
    # A shard is a range between two sampled quantiles. Its size is the sum of BLOCKS_PER_SHARD gaps
    # between random blocks. Such gaps are exponential, so their sum is gamma distributed.
    random_ = random.Random(seed)  # noqa: S311 - a simulation with a fixed seed
    sizes = [random_.gammavariate(BLOCKS_PER_SHARD, 1) for _ in range(shards)]
    free = [0.0] * workers
    for size in sizes:
        heapq.heapreplace(free, free[0] + size)
    return max(free) / (sum(sizes) / workers)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=10_000_000_000)
    add("--workers", type=int, default=200, help="number of workers; each processes one shard")
    add("--shards", type=int, default=2_000)
    add("--batch", type=int, default=5_000, help="rows of a batch")
    add("--worker-rate", type=float, default=66_000, help="rows/s of one worker alone (measured)")
    add("--core-rate", type=float, default=66_000, help="rows/s of one core of the server")
    add("--cores", type=int, default=32, help="cores of the server")
    add("--row-wal", type=float, default=288, help="bytes of WAL per row (measured)")
    add("--checkpoint-wal", type=float, default=262, help="bytes of WAL per checkpoint (measured)")
    add("--rows-per-page", type=float, default=185, help="rows per page of the table (measured)")
    add("--full-page", type=float, default=1.0, help="0.5 with wal_compression, 0 without images")
    add("--disk-mb", type=float, default=500, help="MB/s of the disk with the WAL")
    add("--replica-mb", type=float, default=120, help="MB/s to the slowest replica or archive")
    add("--fsync-ms", type=float, default=1.0, help="milliseconds of one flush of the WAL")
    add("--group", type=float, default=8, help="commits that share a flush")
    add("--rtt-ms", type=float, default=0.5, help="milliseconds between worker and server and back")
    add("--backend-mb", type=float, default=10, help="memory of one connection")
    add("--shard-bytes", type=float, default=600, help="bytes that the supervisor reads per shard")
    add("--redis-rate", type=int, default=50_000, help="commands/s of Redis")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
