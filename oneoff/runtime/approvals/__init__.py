"""Let a run start because a second person has approved exactly this run."""
