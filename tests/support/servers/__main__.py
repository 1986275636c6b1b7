"""`python -m tests.support.servers` prints the Debian packages whose programs are missing here."""

from __future__ import annotations

import sys

from tests.support.servers.programs import missing_packages

sys.stdout.write(" ".join(missing_packages()))
