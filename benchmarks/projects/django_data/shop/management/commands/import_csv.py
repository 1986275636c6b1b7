"""Load the users from a csv file by bulk_create."""

import csv
from datetime import datetime
from itertools import islice

from django.core.management.base import BaseCommand
from django.db import transaction
from shop.models import User

BATCH = 5_000


def users(rows):
    for row in rows:
        row["active"] = row["active"] == "t"
        row["created_at"] = datetime.fromisoformat(row["created_at"])
        yield User(**row)


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("file")

    def handle(self, *, file, **options):
        with open(file, newline="") as stream, transaction.atomic():
            found = users(csv.DictReader(stream))
            while batch := list(islice(found, BATCH)):
                User.objects.bulk_create(batch)
