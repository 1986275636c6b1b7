"""Run shards of a batch and maintenance pauses in an ARQ worker."""
