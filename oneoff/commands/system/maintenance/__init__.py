"""The application's maintenance: 503 for visitors, while operators work."""
