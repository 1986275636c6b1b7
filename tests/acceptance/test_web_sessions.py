"""Sessions of people: sign in, sign out, and input that a database can't store."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from app import sessions
from app.web import body_limit

if TYPE_CHECKING:
    from tests.acceptance.conftest import Run
    from tests.support.web import Web

UNSTORABLE = ["\ud800", "a\x00b", "ada\udcff@example.com"]


def password_of_ada(run: Run) -> str:
    """Create the user ada, and return the generated password."""
    made = run("user create ada ada@example.com --generate-password --quiet".split())
    return str(made.stdout.strip())


def sign_in(web: Web, password: str, user: str = "ada") -> dict[str, str]:
    """Sign in, and return the header with the token."""
    opened = web.client.post("/session", json={"user": user, "password": password})
    assert 201 == opened.status_code, web.lines()
    return {"Authorization": f"Bearer {opened.json()['token']}"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_person_signs_in_with_a_password(web: Web, run: Run) -> None:
    """The token identifies the user; a wrong password is refused; no secret is logged."""
    password = password_of_ada(run)

    headers = sign_in(web, password)
    who = web.client.get("/session", headers=headers)
    wrong = web.client.post("/session", json={"user": "ada", "password": "x"})
    nobody = web.client.get("/session")

    assert [200, 401, 401] == [answer.status_code for answer in (who, wrong, nobody)]
    assert ("ada", "user") == (who.json()["user"], who.json()["role"])
    secrets = (headers["Authorization"].split()[1], password)
    assert not {part for part in secrets if part in json.dumps(web.lines())}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_person_signs_out_and_ends_other_sessions(web: Web, run: Run) -> None:
    """Only sessions of the same person; a session that has ended answers 401."""
    password = password_of_ada(run)
    assert 0 == run("user create eve eve@example.com --generate-password".split()).returncode
    phone, laptop = sign_in(web, password), sign_in(web, password)

    listed: list[dict[str, Any]] = web.client.get("/sessions", headers=laptop).json()
    ended = [
        web.client.delete(f"/sessions/{number}", headers=laptop).status_code
        for number in (listed[0]["id"], listed[0]["id"], 10**30)
    ]
    out = web.client.delete("/session", headers=laptop)
    after = [web.client.get("/session", headers=used).status_code for used in (phone, laptop)]

    assert [("ada", False), ("ada", True)] == [(row["user"], row["current"]) for row in listed]
    assert ([204, 404, 404], 204, [401, 401]) == (ended, out.status_code, after)


def test_text_that_cannot_be_stored_gets_an_answer_below_500(web: Web, run: Run) -> None:
    """In each part of a request. The answer repeats no password, and no error is logged."""
    password_of_ada(run)
    bodies: list[bytes] = [
        json.dumps({"user": text, "password": other}).encode()
        for part in UNSTORABLE
        for text, other in ((part, "x"), ("ada", part))
    ]
    bodies += [b"\xff\xfe", b'{"user": "\xff", "password": "x"}', b"[" * 20_000, b"null", b""]
    bodies.append(b'{"user": 1, "password": "hunter2hunter2"}')
    kind = {"Content-Type": "application/json"}

    answers = [web.client.post("/session", content=body, headers=kind) for body in bodies]
    headers = [
        web.client.get(path, headers={name: b"Bearer \xff\xed\xa0\x80"})
        for path in ("/me", "/session", "/sessions")
        for name in (b"Authorization", b"X-API-Key", b"Accept-Language", b"X-Request-ID")
    ]
    headers.append(web.client.get("/%00%ED%A0%80"))

    codes = [answer.status_code for answer in (*answers, *headers)]
    assert [] == [code for code in codes if not 400 <= code < 500], codes
    assert "hunter2" not in "".join(answer.text for answer in answers)
    assert [] == [line for line in web.lines() if line["level"] == "error"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_refused_sign_ins_are_throttled(web: Web, run: Run) -> None:
    """The right password does not help, the answer says when to try again, others can sign in."""
    password = password_of_ada(run)

    def attempt(user: str, text: str) -> int:
        body = {"user": user, "password": text}
        return web.client.post("/session", json=body).status_code

    refused = [attempt("ada", "x") for _ in range(sessions.FAILURES)]
    throttled = web.client.post("/session", json={"user": " ADA ", "password": password})

    assert [401] * sessions.FAILURES == refused
    assert 429 == throttled.status_code
    assert re.fullmatch("[1-9][0-9]{1,2}", throttled.headers["Retry-After"])
    assert 401 == attempt("eve", password)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(web: Web, *, chunked: bool) -> None:
    """With a declared length, and without one."""
    body = b" " * (body_limit.MOST + 1)

    answer = web.client.post(
        "/session",
        content=iter([body]) if chunked else body,
        headers={"Content-Type": "application/json"},
    )

    assert (413, f"the body is larger than {body_limit.MOST} bytes") == (
        answer.status_code,
        answer.json()["detail"],
    )
