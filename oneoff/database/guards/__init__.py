"""Make the database refuse a commit in a dry run, and a write in a read-only run."""
