"""Show health, locks and environment; turn maintenance on and off."""
