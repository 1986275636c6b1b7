"""Change rows that a cleanup is about to delete until standard input ends; print the waits.

    python frontier.py URL DOOMED

A process of its own, so that what it measures is the server and not the client beside it. It goes
for the rows of the batch at work, as its checkpoint tells: others would hardly ever be locked.
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
    """Print the longest and the 99th percentile wait in milliseconds, and how many there were."""
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
