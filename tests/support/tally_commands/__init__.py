"""Commands that work on the tally in batches."""
