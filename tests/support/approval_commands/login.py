"""`login`."""

from __future__ import annotations

from oneoff import Access, BaseCommand, Confirm, DryRun, Result, Secret, SecretStr


class Login(BaseCommand):
    """Use a secret."""

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    examples = ("login",)

    password: SecretStr = Secret(env="LOGIN_PASSWORD", help="The password.")

    async def handle(self) -> Result:
        """Show its length."""
        return Result.changed(f"used {len(self.password.reveal())} characters")
