"""The handlers of effects: what to do outside the database after a transaction is committed.

A service stores an effect with `put_effect`. Later `outbox deliver` or the worker calls its
handler. Services import the kinds from this module, so only the handlers import the mailer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.models import User

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.mailer import Mailer
    from oneoff import Effect

PROMOTED = "mail.promoted"
"""Kind of an effect: tell a user about a new role. Payload: `user_id`, `role`."""


async def promoted(effect: Effect, session: AsyncSession, mailer: Mailer) -> None:
    """Send the mail, unless the user has been deleted."""
    from app.mailer import Mail

    user = await session.get(User, effect.payload["user_id"])
    if user is None:
        return
    role = effect.payload["role"]
    await mailer.send(
        Mail(
            name=f"promoted-{effect.id}",
            to=user.email,
            subject=f"You are now {role} of the shop",
            text=f"Hello {user.username},\n\nyour role is {role} from now on.\n",
        )
    )


HANDLERS = {PROMOTED: promoted}
