"""API keys, which programs use to call the API."""
