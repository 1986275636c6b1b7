"""`leak`: leak a secret in every way that an author might."""

from typing import Literal

from oneoff import Access, Argument, BaseCommand, CommandError, DryRun, Result, Secret, SecretStr


class Leak(BaseCommand):
    """Leak the secret."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("leak message --token-stdin",)

    how: Literal[
        "message",
        "data",
        "warning",
        "log",
        "error",
        "why",
        "bug",
        "chain",
        "sql",
        "constraint",
        "unwritable",
    ] = Argument(help="How to leak it.")
    token: SecretStr = Secret(env="LEAK_TOKEN", help="The secret to leak.")

    async def handle(self, session, log) -> Result:
        secret = self.token.reveal()
        ways = {
            "message": lambda: Result.changed(f"token {secret}"),
            "data": lambda: Result.report({"note": secret, "rows": [{"x": secret}]}),
            "unwritable": lambda: Result.changed("not UTF-8: \udcff, NUL: \0", rows=2**31),
            "warning": lambda: Result.unchanged("w", warnings=[f"used {secret}"]),
        }
        if self.how in ways:
            return ways[self.how]()
        await getattr(self, f"by_{self.how}")(session, log, secret)
        return Result.unchanged("leaked nothing")

    async def by_log(self, session, log, secret) -> None:
        log.warning("token.used", token=secret, note=f"it was {secret}", nested={"a": [secret]})
        try:
            raise ValueError(secret)
        except ValueError:
            log.exception("token.failed")

    async def by_error(self, session, log, secret) -> None:
        raise CommandError(f"can't use {secret}", try_=f"retry with {secret}")

    async def by_why(self, session, log, secret) -> None:
        raise CommandError("no", why=f"because {secret}", data={"token": secret})

    async def by_bug(self, session, log, secret) -> None:
        raise RuntimeError(f"https://user:{secret}@api.example.com refused")

    async def by_chain(self, session, log, secret) -> None:
        try:
            raise ValueError(f"password={secret}")
        except ValueError as exc:
            raise RuntimeError("outer") from exc

    async def by_sql(self, session, log, secret) -> None:
        from sqlalchemy import text

        await session.execute(text("SELECT * FROM nowhere WHERE x = :x"), {"x": secret})

    async def by_constraint(self, session, log, secret) -> None:
        from app.models import Item

        session.add(Item(name=secret))
        await session.flush()
        session.add(Item(name=secret))
        await session.flush()
