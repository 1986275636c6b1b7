"""Change rows that a cleanup will delete soon, until standard input ends; print the waits.

    python frontier.py URL DOOMED

This is a separate process, so it measures the server and not the cleanup's client. It chooses rows
just above the checkpoint of the running batch, because other rows are hardly ever locked.
"""

import asyncio
import random
import select
import sys
import time

import asyncpg

REACH = 8_000  # rows ahead of the checkpoint
DONE = "SELECT coalesce(max(rows_done), 0) FROM oneoff_batches WHERE finished_at IS NULL"
CHANGE = "UPDATE events SET detail = 'seen' WHERE id = $1"


async def main(url: str, doomed: int) -> None:
    """Print the longest wait and the 99th percentile in milliseconds, and the number of waits."""
    connection = await asyncpg.connect(url)
    waits = []
    await connection.execute(CHANGE, 0)
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        done = await connection.fetchval(DONE)
        row = random.randint(done + 1, min(done + REACH, doomed)) if done < doomed else doomed  # noqa: S311
        start = time.perf_counter()
        await connection.execute(CHANGE, row)
        waits.append(time.perf_counter() - start)
    await connection.close()
    waits.sort()
    print(f"{waits[-1] * 1000:.1f} {waits[int(len(waits) * 0.99)] * 1000:.1f} {len(waits)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
