"""The least Django that has commands and migrations: no admin, users, sessions or templates."""

from mysite.settings import *

INSTALLED_APPS = ["bench"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "mysite.no_urls"
TEMPLATES: list[dict[str, object]] = []
AUTH_PASSWORD_VALIDATORS: list[dict[str, str]] = []
