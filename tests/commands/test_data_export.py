"""`data export`: the exported rows and columns, the formats, and the errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from oneoff.runtime.progress import Progress
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.exports import make_many, rows_of
from tests.support.fixture_types import MakeUser, Sessions


@pytest.fixture
async def users(make_user: MakeUser) -> None:
    """Create three users."""
    await make_user("ada", role="admin")
    await make_user("grace")
    await make_user("linus", active=False)


@pytest.fixture
async def many(sessions: Sessions) -> int:
    """Create a table of 50,000 rows."""
    return await make_many(sessions)


@pytest.mark.usefixtures("users")
async def test_rows_go_to_stdout_and_messages_to_stderr(manage: Manage) -> None:
    """So the rows can be piped."""
    done = await manage("data export users --columns id,username,role,active")

    assert (
        "id,username,role,active\n1,ada,admin,t\n2,grace,user,t\n3,linus,user,f\n"
    ) == done.stdout
    assert "exported 3 rows of users\n" in done.stderr


@pytest.mark.usefixtures("users")
async def test_every_format_contains_the_same_rows(manage: Manage) -> None:
    """On both databases byte for byte, except for booleans in SQL."""
    line = "data export users --columns id,username,active --limit 2 --format"

    as_json = await manage(f"{line} json")
    as_jsonl = await manage(f"{line} jsonl")
    as_sql = await manage(f"{line} sql")

    objects = [
        '{"id":1,"username":"ada","active":true}',
        '{"id":2,"username":"grace","active":true}',
    ]
    assert "\n".join([*objects, ""]) == as_jsonl.stdout
    assert f"[\n{objects[0]},\n{objects[1]}\n]\n" == as_json.stdout
    true = "true" if "postgres" in manage.environ["DATABASE_URL"] else "1"
    assert as_sql.stdout.endswith(
        'BEGIN;\nINSERT INTO "users" ("id", "username", "active") VALUES\n'
        f"(1,'ada',{true})\n,(2,'grace',{true})\n;\nCOMMIT;\n"
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("csv", "id,what\n"), ("jsonl", ""), ("json", "[]\n"), ("sql", "BEGIN;\nCOMMIT;\n")],
)
async def test_an_export_without_rows_is_a_valid_file(
    manage: Manage, many: int, kind: str, expected: str
) -> None:
    """Other programs can read it."""
    done = await manage(f"data export many --where id=0 --format {kind}")

    assert 0 == done.exit_code
    assert done.stdout.endswith(expected)


@pytest.mark.usefixtures("users")
async def test_personal_data_is_masked(manage: Manage) -> None:
    """In every format. A warning names the masked columns, and the option that exports them."""
    masked = [
        await manage(f"data export users --format {kind}")
        for kind in ("csv", "json", "jsonl", "sql")
    ]

    assert [False] * 4 == ["@example.com" in done.stdout for done in masked]
    assert [False] * 4 == ["argon2" in done.stdout for done in masked]
    assert "warning: masked as personal data: email, password_hash; " in masked[0].stderr
    assert '"email":"***"' in masked[2].stdout


@pytest.mark.usefixtures("users")
async def test_exporting_personal_data_needs_a_reason_which_is_recorded(manage: Manage) -> None:
    """Without a reason the exit code is 77, and nothing is written."""
    line = "data export users --columns email --include-pii"

    refused = await manage(line)
    done = await manage(f"{line} --reason 'a letter to all'")

    assert (77, "") == (refused.exit_code, refused.stdout)
    assert "error[reason-required]: --include-pii needs a reason" in refused.stderr
    assert ["ada@example.com", "grace@example.com", "linus@example.com"] == rows_of(done)
    recorded = "SELECT reason, argv FROM oneoff_runs ORDER BY started_at DESC, id DESC LIMIT 1"
    ((reason, argv),) = query(manage.environ["DATABASE_URL"], recorded)
    assert "a letter to all" == reason
    assert "--include-pii" in str(argv)


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["active=true"], ["ada", "grace"]),
        (["active=no"], ["linus"]),
        (["id>1", "id<=2"], ["grace"]),
        (["username~a"], ["ada", "grace"]),
        (["username~%"], []),
        (["username!=ada"], ["grace", "linus"]),
        (["username >= grace"], ["grace", "linus"]),
        (["created_at>2020-01-01"], ["ada", "grace", "linus"]),
        (["created_at<2020-01-01T00:00:00+02:00"], []),
        (["created_at=null"], []),
        (["created_at!=null"], ["ada", "grace", "linus"]),
        (["username=x' OR '1'='1"], []),
        (["username=adabcdefghijklmnopqrstuvwxyz" + "x" * 60], []),
    ],
)
async def test_conditions_select_rows(
    manage: Manage, conditions: Sequence[str], expected: list[str]
) -> None:
    """A row must meet all conditions; a value is never SQL."""
    words = [word for condition in conditions for word in ("--where", condition)]

    done = await manage(["data", "export", "users", "--columns", "username", *words])

    assert expected == rows_of(done)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("id=ada", "--where 'id=ada': 'ada' is not a valid INTEGER"),
        ("active=perhaps", "--where 'active=perhaps': 'perhaps' is not a valid BOOLEAN"),
        ("created_at>soon", "--where 'created_at>soon': 'soon' is not a valid"),
        (
            "usrname=ada",
            "--where 'usrname=ada': users has no column 'usrname': did you mean username?",
        ),
        ("username", "--where 'username' is not a condition: write COLUMN=VALUE, or another of ="),
        ("id>null", "--where 'id>null': null can only be compared with = or !="),
    ],
)
async def test_an_invalid_condition_is_a_usage_error(
    manage: Manage, condition: str, problem: str
) -> None:
    """Nothing is written."""
    done = await manage(["data", "export", "users", "--where", condition])

    assert (2, "") == (done.exit_code, done.stdout)
    assert f"error[bad-condition]: {problem}".lower() in done.stderr.lower()


async def test_errors_about_unknown_names_suggest_similar_names(manage: Manage) -> None:
    """For tables and columns; all unknown columns are reported together."""
    table = await manage("data export usres")
    columns = await manage("data export users --columns id,emial,emial,what")

    assert (1, 2) == (table.exit_code, columns.exit_code)
    assert "error[unknown-table]: there is no table 'usres': did you mean users?" in table.stderr
    assert "users has no column 'emial': did you mean email?" in columns.stderr
    assert "users has no column 'what': it has id, username" in columns.stderr
    assert "column 'emial' is named twice" in columns.stderr


async def test_a_table_that_no_model_declares_is_exported_with_a_warning(
    manage: Manage, many: int, tmp_path: Path
) -> None:
    """All of its columns are exported. The message and the JSON data contain the number of rows."""
    done = await manage(f"data export many -o {tmp_path}/many.csv --json")

    assert f"exported 50,000 rows of many to {tmp_path}/many.csv" == done.json["message"]
    assert (many, "csv") == (done.json["data"]["rows"], done.json["data"]["format"])
    assert (
        "the project's models do not declare many: no column of it was masked as personal data"
        == (done.json["warnings"][-1])
    )
    lines = (tmp_path / "many.csv").read_text().splitlines()
    assert ["id,what", '1,"row 1, of many"'] == lines[:2]
    assert (many + 1, '50000,"row 50000, of many"') == (len(lines), lines[-1])
    assert done.json["data"]["bytes"] == (tmp_path / "many.csv").stat().st_size


async def test_a_warning_does_not_deny_that_columns_were_masked(
    manage: Manage, sessions: Sessions
) -> None:
    """A table without a model has masked columns if the project or their own names say so."""
    async with sessions.begin() as session:
        await session.execute(text("CREATE TABLE visitors (id integer, api_token varchar(20))"))

    done = await manage("data export visitors")

    assert "masked as personal data: api_token;" in done.stderr
    assert "do not declare visitors: no other column was masked as personal data" in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--limit 0", "--limit 0 is less than 1"),
        ("--excel-safe --format json", "--excel-safe is for csv, not for json"),
        ("-o users.xlsx", "the name users.xlsx does not show a known format: give --format"),
        ("--json", "--json and the data of data export can't both go to standard output"),
        ("--format xml", "--format 'xml' is not one of csv, jsonl, json, sql, parquet"),
    ],
)
async def test_options_that_cannot_be_combined_are_usage_errors(
    manage: Manage, words: str, problem: str
) -> None:
    """Nothing is written."""
    done = await manage(f"data export users {words}")

    assert 2 == done.exit_code
    assert problem in done.stderr + done.stdout


async def test_excel_safe_neutralizes_texts_that_look_like_formulas(
    manage: Manage, sessions: Sessions
) -> None:
    """Numbers are unchanged. A warning says that the file should not be imported again."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE cells (id int PRIMARY KEY, what varchar(30))"))
        for number, what in enumerate(["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a=1", ""]):
            await session.execute(
                text("INSERT INTO cells VALUES (:id, :what)"), {"id": -number, "what": what}
            )
        await session.commit()

    done = await manage("data export cells --excel-safe")

    assert (
        "id,what\n-7,\"\"\n-6,a=1\n-5,\"'\rx\"\n-4,'\tx\n-3,'@x\n-2,'-1\n-1,'+1\n0,'=1+1\n"
    ) == done.stdout
    assert (
        "warning: do not import this file again: --excel-safe may have changed cells" in done.stderr
    )


async def test_rows_are_in_the_order_of_the_primary_key(manage: Manage, sessions: Sessions) -> None:
    """The order of the key's columns counts, not their order in the table."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE pairs (a int, b int, PRIMARY KEY (b, a))"))
        await session.execute(text("INSERT INTO pairs VALUES (1, 2), (2, 1), (1, 1), (3, 0)"))
        await session.commit()

    done = await manage("data export pairs")
    first = await manage("data export pairs --limit 1 --columns a")

    assert ["3,0", "1,1", "2,1", "1,2"] == rows_of(done)
    assert ["3"] == rows_of(first)


async def test_an_export_works_in_a_read_only_run(manage: Manage, many: int) -> None:
    """The executor's guard has nothing to refuse."""
    done = await manage("data export many --limit 1 --debug")

    assert 0 == done.exit_code, done.stderr
    assert done.outcome
    assert "unchanged" == done.outcome.status.value


async def test_a_single_column_may_contain_the_end_of_data_mark(
    manage: Manage, sessions: Sessions
) -> None:
    r"""COPY would read an unquoted \. as the end of the data. NULL is an empty line."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE lone (id int PRIMARY KEY, what varchar(30))"))
        for number, what in enumerate(["\\.", None, "", "x"]):
            await session.execute(
                text("INSERT INTO lone VALUES (:id, :what)"), {"id": number, "what": what}
            )
        await session.commit()

    assert ['"\\."', "", '""', "x"] == rows_of(await manage("data export lone --columns what"))
    assert ["0", "1"] == rows_of(await manage("data export lone --columns id --limit 2"))


async def test_a_condition_with_unequal_also_selects_null(
    manage: Manage, sessions: Sessions
) -> None:
    """Unlike in SQL, where NULL is neither equal nor unequal."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE lone (id int PRIMARY KEY, what varchar(30))"))
        await session.execute(text("INSERT INTO lone VALUES (1, 'x'), (2, NULL), (3, 'y')"))
        await session.commit()

    assert ["2", "3"] == rows_of(await manage("data export lone --columns id --where what!=x"))
    assert ["3"] == rows_of(await manage("data export lone --columns id --where what>x"))


async def test_names_with_special_characters_are_quoted(manage: Manage, sessions: Sessions) -> None:
    """In the names of tables and columns."""
    async with sessions() as session:
        await session.execute(
            text("""CREATE TABLE "od'd ""t" ("a'b" int PRIMARY KEY, "c""d, $1 {e}" varchar(9))""")
        )
        await session.execute(text("""INSERT INTO "od'd ""t" VALUES (1, 'x')"""))
        await session.commit()
    words = ["data", "export", """od'd "t""", "--where", """c"d, $1 {e}=x"""]

    done = {kind: await manage([*words, "--format", kind]) for kind in ("csv", "jsonl", "sql")}

    assert """a'b,"c""d, $1 {e}"\n1,x\n""" == done["csv"].stdout
    assert """{"a'b":1,"c\\"d, $1 {e}":"x"}\n""" == done["jsonl"].stdout
    assert (
        """INSERT INTO "od'd ""t" ("a'b", "c""d, $1 {e}") VALUES\n(1,'x')\n;\nCOMMIT;\n"""
    ) in done["sql"].stdout


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_table_may_be_in_another_schema(manage: Manage, sessions: Sessions) -> None:
    """The name includes the schema, also in suggestions."""
    async with sessions() as session:
        await session.execute(text("CREATE SCHEMA audit"))
        await session.execute(text("CREATE TABLE audit.events (id int)"))
        await session.execute(text("INSERT INTO audit.events VALUES (7)"))
        await session.commit()

    assert ["7"] == rows_of(await manage("data export audit.events"))
    unknown = await manage("data export audit.event")
    assert "there is no table 'audit.event': did you mean audit.events?" in unknown.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_the_servers_settings_do_not_change_the_output(
    manage: Manage, sessions: Sessions, make_user: MakeUser
) -> None:
    """Neither the time zone nor the date style."""
    await make_user("ada")
    line = "data export users --columns created_at"
    before = await manage(line)
    name = manage.environ["DATABASE_URL"].rpartition("/")[2]
    async with sessions() as session:
        await session.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))
        await session.execute(text(f"ALTER DATABASE {name} SET datestyle = 'German'"))
        await session.commit()

    assert rows_of(before) == rows_of(await manage(line))
    assert before.stdout.endswith("+00\n")


async def test_the_progress_gets_the_expected_number_of_rows(
    manage: Manage, sessions: Sessions, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL estimates it, SQLite counts, unless counting would take as long as the export."""
    totals: list[int] = []
    monkeypatch.setattr(Progress, "start", lambda _self, total: totals.append(total))
    monkeypatch.setattr(Progress, "advance", lambda _self, _steps: None)
    async with sessions() as session:
        await session.execute(text("ANALYZE"))
        await session.commit()

    for words in ("", "--limit 7", "--where id<100"):
        await manage(f"data export many {words}")

    everything, limited, *chosen = (total for total in totals if total)
    assert (many, 7) == (everything, limited)
    on_sqlite = manage.environ["DATABASE_URL"].startswith("sqlite")
    assert [] == chosen if on_sqlite else 50 < chosen[0] < 200
