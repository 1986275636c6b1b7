"""Keep a server running until the process that started it has ended.

    python keeper.py FOLDER ACCOUNT STOP_SIGNAL PROGRAM [ARGUMENT ...]

This is a separate program. It stops the server and removes its folder when standard input ends:
when the test run closes it, is interrupted, or is killed with SIGKILL. A line on standard input is
the number of a signal: the keeper stops the server with it, starts it again, and prints
"restarted". If the server ends by itself, the keeper prints the server's log and ends too. ACCOUNT
is "UID:GID" for a server that refuses to run as root, or empty.
"""

from __future__ import annotations

import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

PATIENCE = 20  # seconds that a server may take to stop before SIGKILL
GLANCE = 0.2  # seconds between two checks whether the server has ended by itself


class Keeper:
    """Starts, stops and restarts one server.

    Args:
        folder: Working folder of the server, which also contains its log.
        account: "UID:GID" to run as, or empty for the keeper's own.
        command: Program and arguments.
    """

    def __init__(self, folder: Path, account: str, command: list[str]) -> None:
        self.log = folder / "log"
        self._folder, self._command = folder, command
        uid, _, gid = account.partition(":")
        self._uid = int(uid) if uid else None
        self._gid = int(gid) if gid else None
        self.server = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                user=self._uid,
                group=self._gid,
                extra_groups=None if self._uid is None else [],
            )

    def stop(self, signum: int) -> None:
        """Stop the server with a signal; kill it if it does not stop in time."""
        self.server.send_signal(signum)
        try:
            self.server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def restart(self, signum: int) -> None:
        """Stop the server and start it again with the same command."""
        self.stop(signum)
        self.server = self._start()

    def obey(self) -> None:
        """Follow the orders on standard input until it ends, or until the server ends."""
        while self.server.poll() is None:
            if not select.select([sys.stdin], [], [], GLANCE)[0]:
                continue
            order = sys.stdin.readline()
            if not order:
                return
            self.restart(int(order))
            print("restarted", flush=True)
        print(self.log.read_text(errors="replace"), flush=True)


def main(folder: str, account: str, stop_signal: str, *command: str) -> None:
    """Keep the server running; then stop it and remove its folder."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        keeper = Keeper(Path(folder), account, list(command))
        try:
            keeper.obey()
        finally:
            keeper.stop(int(stop_signal))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leave(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    main(*sys.argv[1:])
