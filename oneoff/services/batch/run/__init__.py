"""Run the batches of a command: the loop, its bounds, throttling, shards and workers."""
