from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "List users, oldest first."

    def handle(self, *args, **options):
        total = User.objects.count()
        for user in User.objects.order_by("date_joined", "id")[:50]:
            self.stdout.write(f"{user.id} {user.username} {user.email} {user.is_active}")
        self.stdout.write(f"{min(total, 50)} of {total} users")
