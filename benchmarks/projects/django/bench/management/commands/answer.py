from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    help = "Ask the database for one number."

    def handle(self, *args, **options):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            (number,) = cursor.fetchone()
        self.stdout.write(f"the database answered {number}")
