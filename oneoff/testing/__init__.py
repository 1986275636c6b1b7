r"""Test your own commands with the pytest fixture `manage`.

    async def test_promoting_makes_an_admin(manage):
        outcome = await manage("user promote ada admin --confirm")
        assert (0, "ada is now admin (was user)\n") == (outcome.exit_code, outcome.stdout)

pytest loads the plugin through an entry point of the installed package.
"""

from oneoff.testing.manage import Finished, Manage, MemoryTerminal

__all__ = ["Finished", "Manage", "MemoryTerminal"]
