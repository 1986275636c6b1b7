"""Read the framework's settings, URLs and environment, and identify the operator."""
