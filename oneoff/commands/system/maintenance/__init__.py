"""Switch maintenance on and off: visitors get 503 while operators work."""
