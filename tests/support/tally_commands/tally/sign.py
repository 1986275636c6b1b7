"""`tally sign`: a batch that a fleet can't do."""

from __future__ import annotations

from oneoff import Secret, SecretStr
from tests.support.tally_commands.tally.add import Add


class Sign(Add):
    """Do every row once, with a key."""

    examples = ("tally sign --confirm",)
    lock = "signing"
    batch_timeout = 300.0

    key_of: SecretStr = Secret(help="The key.", env="TALLY_KEY")
