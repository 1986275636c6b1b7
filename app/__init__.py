"""The reference application: settings, models, and the services that commands and the API share."""
