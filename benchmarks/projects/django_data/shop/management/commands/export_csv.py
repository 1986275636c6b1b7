"""What people write when dumpdata is too slow."""

import csv

from django.core.management.base import BaseCommand

from shop.models import User

FIELDS = ("id", "username", "email", "role", "active", "created_at")


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("path")

    def handle(self, *args, **options):
        with open(options["path"], "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FIELDS)
            rows = User.objects.order_by("id").values_list(*FIELDS)
            writer.writerows(rows.iterator(chunk_size=2000))
