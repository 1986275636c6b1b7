"""Connect oneoff to the application's long-running processes: web and worker."""
