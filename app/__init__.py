"""The application: settings, models, and the services that commands and the web API share."""
