"""The words with which the slow patterns start leave out no match."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from oneoff.utils import redaction, sql_secrets
from oneoff.utils.anchored import occurs, substitute
from oneoff.utils.secret_names import NAME, NAME_STARTS

NAMES = """
password passwd passphrase pass pwd secret token api_key api-key apikey private_key private-key
access_key access-key credential credentials authorization signature salt dsn jwt csrf cookie otp
otp_code pin pincode session sess_id sessionid phpsessid jsessionid SIGNING_KEY FERNET_KEY DB_PWD
sessionToken dbPassword userOtp PASSWORD_2 İpassword
""".split()
STATEMENTS = """
INSERT INTO t VALUES ('x')|replace into t values ('x')|merge into t using s|DELETE FROM t|
update t set a = 'x'|SELECT 'x'|values ('x')|create role r|ALTER USER u|set local a = 'x'|
SET a TO 'x'
""".replace("\n", "").split("|")


def mark(match: re.Match[str]) -> str:
    """Show what was matched."""
    return f"<{match[0]}>"


def cases(name: str) -> Sequence[str]:
    """Return texts that contain a name, in both cases."""
    forms = (f"{name}='x'", f"a {name}: 'x', {name} to 'y'", f"MY_{name}=x {name} 'z'")
    return [case for form in forms for case in (form, form.upper(), form.title())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", [redaction._ASSIGNMENT, sql_secrets._NAMED, re.compile(NAME)])
def test_a_name_of_a_secret_starts_with_one_of_the_words(
    pattern: re.Pattern[str], name: str
) -> None:
    """In upper case and lower case."""
    for text in cases(name):
        assert pattern.sub(mark, text) == substitute(pattern, mark, text, NAME_STARTS)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_starts_with_one_of_the_words(statement: str) -> None:
    """In upper case and lower case."""
    for text in (statement, statement.upper(), f"x; {statement}; {statement.lower()}"):
        found = substitute(sql_secrets._STATEMENT, mark, text, sql_secrets._STATEMENT_STARTS)
        assert sql_secrets._STATEMENT.sub(mark, text) == found
        assert "<" in found


@pytest.mark.parametrize(
    "name", [*NAMES, "crypt", "digest", "hmac", "pgp_sym_encrypt", "identified by"]
)
def test_a_statement_that_names_a_secret_is_found(name: str) -> None:
    """By a name, or by a function that takes one."""
    for text in (f"a {name}('x')", f"a {name.upper()} = 'x'"):
        found = occurs(sql_secrets._NAMES_SECRET, text, sql_secrets._NAMES_SECRET_STARTS)
        assert bool(sql_secrets._NAMES_SECRET.search(text)) == found


def test_a_match_inside_another_is_left_alone() -> None:
    """As with `re.sub`."""
    assert "<aba>b<aba>" == substitute(re.compile("aba"), mark, "abababa", ["a"])
