"""Run a batch command: the loop, its bounds, throttling, shards and workers."""
