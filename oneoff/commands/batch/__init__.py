"""Show, pause, resume and cancel work in batches."""
