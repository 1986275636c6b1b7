"""The table that is exported; it is there already."""

from django.db import models


class User(models.Model):
    username = models.CharField(max_length=64, unique=True)
    email = models.CharField(max_length=254, unique=True)
    role = models.CharField(max_length=20)
    active = models.BooleanField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "users"
