"""A Redis Cluster for a test run: three primaries that share the slots."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.support.servers.process import (
    HOST,
    PATIENCE,
    ServerError,
    free_port,
    running,
    server_folder,
)
from tests.support.servers.redis import Redis

NODES = 3
SLOTS = 16_384
MEMBERS = ("known_nodes", "size")  # of CLUSTER INFO


class RedisCluster:
    """A running cluster without replicas.

    Args:
        nodes: Its servers, in cluster mode and without slots.
    """

    def __init__(self, nodes: Sequence[Redis]) -> None:
        self.nodes = list(nodes)

    @property
    def url(self) -> str:
        """The URL of its first node, as platforms provide it."""
        return self.nodes[0].url

    def flush(self) -> None:
        """Delete all keys of all nodes."""
        for node in self.nodes:
            node.flush()

    def join(self) -> None:
        """Assign the slots, connect the nodes, and wait until all nodes agree.

        Raises:
            ServerError: The nodes did not agree in time.
        """
        first, last = self.nodes[0], len(self.nodes) - 1
        for at, node in enumerate(self.nodes):
            end = SLOTS - 1 if at == last else (at + 1) * SLOTS // len(self.nodes) - 1
            start = at * SLOTS // len(self.nodes)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", start, end)
            port = int(first.settings["cluster-port"])
            if node is not first:
                node.ask("CLUSTER", "MEET", HOST, first.port, port)
        deadline = time.monotonic() + PATIENCE
        while not all(map(self._agrees, self.nodes)):
            if time.monotonic() > deadline:
                raise ServerError(f"the cluster's nodes did not agree within {PATIENCE} s")
            time.sleep(0.02)

    def _agrees(self, node: Redis) -> bool:
        said = node.ask("CLUSTER", "INFO").decode().splitlines()
        wanted = {"cluster_state:ok", *(f"cluster_{what}:{len(self.nodes)}" for what in MEMBERS)}
        return wanted <= set(said)


@contextmanager
def running_redis_cluster() -> Iterator[RedisCluster]:
    """Start the nodes, join them, and stop them at the end of the block."""
    with ExitStack() as stack:
        nodes = []
        for _ in range(NODES):
            folder = stack.enter_context(server_folder("redis-cluster"))
            settings = {
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-node-timeout": "2000",
            }
            node = Redis(folder, settings)
            stack.enter_context(running(node.process))
            nodes.append(node)
        cluster = RedisCluster(nodes)
        cluster.join()
        yield cluster
