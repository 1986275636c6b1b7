"""Show what runs here and whether it is healthy; switch maintenance."""
