"""Work on the tally in batches."""
