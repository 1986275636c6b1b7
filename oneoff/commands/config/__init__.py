"""Show and check the settings of this process."""
