"""Show, pause, resume and cancel batches."""
