"""Send PING to Redis servers until standard input ends, then print the longest wait in ms.

    python ping.py PORT...

This is a separate process, so it measures the server and not the other client.
"""

import select
import socket
import sys
import time

PAUSE = 0.001  # seconds between two rounds


def main(ports: list[int]) -> None:
    """Ping the servers one after the other, and print the longest wait."""
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
