"""The least a project needs to have data and commands."""

import os
from urllib.parse import urlsplit

SECRET_KEY = "django-insecure-for-a-benchmark"
INSTALLED_APPS = ["shop"]
url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": url.username,
        "HOST": url.hostname,
        "PORT": url.port,
    },
}
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
