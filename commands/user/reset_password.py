"""`user reset-password`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result, Secret, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from app.settings import Settings


class ResetPassword(BaseCommand):
    """Set a new password for a user; the old one stops working.

    All sessions and API keys of the user end too.

    The password is asked for twice, read from standard input or USER_PASSWORD, or generated and
    shown once.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = (
        "user reset-password ada --generate-password --confirm",
        "user reset-password ada@example.com --password-stdin --confirm",
    )

    user: str = Argument(help="Username or email.", complete="app.users:usernames")
    password: SecretStr = Secret(
        env="USER_PASSWORD", confirm=True, generate=True, help="The new password."
    )

    def check_secret(self, name: str, secret: SecretStr, settings: Callable[[], Settings]) -> None:
        from app import passwords

        passwords.check_new(secret.reveal(), settings().password_min_length, [self.user])

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import users

        await users.get(session, self.user)

    async def handle(self, session: AsyncSession, settings: Settings, log: Logger) -> Result:
        from app import passwords, users

        password = self.password.reveal()
        user = await users.get(session, self.user)
        password_hash = await passwords.hash_new(
            password, settings.password_min_length, about=(user.username, user.email)
        )
        user, ended = await users.reset_password(session, self.user, password_hash)
        log.info("user.password_reset", user_id=user.id, sessions=ended.sessions, keys=ended.keys)
        return Result.changed(
            f"{user.username} has a new password" + (f"; {ended}" if any(ended) else ""),
            rows=1 + sum(ended),
            data=user.public(),
            show_once={"password": password} if self.password.generated else None,
        )

    def consequence(self) -> str:
        return (
            f"replaces the password of {self.user} in {{target}} and ends all sessions and API keys"
        )
