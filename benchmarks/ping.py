"""Ask Redis servers PING until standard input ends, then print the longest wait in milliseconds.

    python ping.py PORT...

A process of its own, so that what it measures is the server and not the client beside it.
"""

import select
import socket
import sys
import time

PAUSE = 0.001  # seconds between two questions


def main(ports: list[int]) -> None:
    """Ask one server after the other."""
    connections = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    worst = 0.0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for connection in connections:
            start = time.perf_counter()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            worst = max(worst, time.perf_counter() - start)
    print(f"{worst * 1000:.2f}")


if __name__ == "__main__":
    main([int(port) for port in sys.argv[1:]])
