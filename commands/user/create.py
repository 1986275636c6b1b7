"""`user create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.roles import Role
from oneoff import (
    Access,
    Argument,
    BaseCommand,
    Confirm,
    DryRun,
    Flag,
    Option,
    Result,
    Secret,
    SecretStr,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from app.models import User
    from app.settings import Settings


class Create(BaseCommand):
    """Create a user.

    The password is asked for twice, read from standard input or USER_PASSWORD, or generated and
    shown once. It is never an argument, because other users of the machine can see arguments.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = (
        "user create ada ada@example.com --role admin --generate-password",
        "user create grace grace@example.com --inactive --password-stdin",
        "user create ada ada@example.com --role admin --generate-password --if-not-exists",
    )

    username: str = Argument(help="Letters, digits, '.', '_' and '-'; not case-sensitive.")
    email: str = Argument(help="Email address of the user.")
    role: Role = Option(default=Role.USER, help="Role of the user.")
    inactive: bool = Flag(help="Create the user deactivated; `user activate` allows signing in.")
    if_not_exists: bool = Flag(help="Succeed and change nothing if this user already exists.")
    password: SecretStr = Secret(
        env="USER_PASSWORD", confirm=True, generate=True, help="The new user's password."
    )

    def check_secret(self, name: str, secret: SecretStr, settings: Callable[[], Settings]) -> None:
        from app import passwords

        about = (self.username, self.email)
        passwords.check_new(secret.reveal(), settings().password_min_length, about)

    async def handle(self, session: AsyncSession, settings: Settings, log: Logger) -> Result:
        from app import passwords, users

        password = self.password.reveal()
        user, created = await users.create(
            session,
            self.username,
            self.email,
            password_hash=await passwords.hash_new(
                password, settings.password_min_length, about=(self.username, self.email)
            ),
            role=self.role,
            active=not self.inactive,
            if_not_exists=self.if_not_exists,
        )
        if not created:
            return Result.unchanged(
                f"{user.username} already exists",
                data=user.public(),
                warnings=list(self._differences(user)),
            )
        log.info("user.created", user_id=user.id, role=user.role)
        return Result.changed(
            f"created {user.username} ({user.role})",
            rows=1,
            data=user.public(),
            show_once={"password": password} if self.password.generated else None,
        )

    def _differences(self, user: User) -> Iterator[str]:
        """Yield a warning for each difference between the existing user and the arguments."""
        if user.role is not self.role:
            yield f"{user.username} is {user.role}, not {self.role}; see user promote"
        if user.active is self.inactive:
            state = "active" if user.active else "inactive"
            yield f"{user.username} is {state}; see user activate and user deactivate"
