"""OpenTelemetry spans for the runs of oneoff."""
