"""What is stored of a batch: identity, claim, checkpoint, shards."""
