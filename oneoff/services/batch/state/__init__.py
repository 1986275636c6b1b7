"""The stored state of a batch: identity, claim, checkpoint, shards."""
