"""Start, pause, resume, cancel, interrupt and kill batches, and use approvals, in any order.

`Machine` is a state machine of hypothesis. After each rule it compares what the database shows with
the transitions that are legal; at the end of each example everything must come to its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from oneoff import Project
from oneoff.core.errors import Unavailable
from oneoff.runtime.approvals import state as approval_state
from oneoff.runtime.audit.record import RunRecord
from oneoff.services.batch.run.loop import BatchRun
from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.state_commands import paint
from tests.support.tally_project import ROOT, make_tally

if TYPE_CHECKING:
    from tests.support.servers import Postgres

NAME = f"{__name__}:project"
ROWS = 15
PATIENCE = 30  # seconds for one rule
TEMPORARY = 75
REFUSED = 77
PEOPLE = ("ada", "bob", "cat")
ENDED = {"finished", "cancelled"}
BATCH = {
    "running": {"running", "paused", "stopped", "finished", "cancelled"},
    "paused": {"running", "paused", "stopped", "finished", "cancelled"},
    "stopped": {"running", "paused", "stopped", "finished", "cancelled"},
    "finished": {"finished"},
    "cancelled": {"cancelled"},
}
"""The states in which a batch may be seen after each state."""
RUN_STARTED, UNSURE = "started", ("started", "abandoned")
"""A run that was taken for dead, because it had lost its lock, may still report its end."""
PROGRESS = """
SELECT (SELECT json_agg(json_build_array(id, status, fence, rows_done)) FROM oneoff_batches)::text,
       min(n), max(n), sum(n) FROM tally
"""  # one statement, because the run may be committing now
RUNS = "SELECT id, status FROM oneoff_runs"
END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name LIKE 'oneoff/{role}/{run}'"
)

project = Project(
    "shop", commands=("tests.support.approval_commands", "tests.support.state_commands")
)
people = st.sampled_from(PEOPLE)


@contextmanager
def killable(dead: set[str], offset: list[timedelta]) -> Iterator[None]:
    """Let runs die without a word, and time pass.

    A killed process writes nothing more, and its connections end. Here all runs share a process
    that lives, so the lock of a run alone has to show whether it is alive.
    """
    close, stop, clock = RunRecord.close_row, BatchRun._stop, approval_state.clock

    async def close_if_alive(self: RunRecord, *args: Any) -> int:
        if self._run_id in dead:
            raise Unavailable("killed")
        return await close(self, *args)

    async def stop_if_alive(self: BatchRun, exc: BaseException) -> None:
        if self._database.run_id not in dead:
            await stop(self, exc)

    async def later(connection: Any) -> datetime:
        now: datetime = await clock(connection)
        return now + offset[0]

    with ExitStack() as stack:
        for target, name, new in (
            ("oneoff.runtime.audit.record.RunRecord", "close_row", close_if_alive),
            ("oneoff.services.batch.run.loop.BatchRun", "_stop", stop_if_alive),
            ("oneoff.services.batch.run.throttling", "POLL", 0.01),
            ("oneoff.runtime.audit.abandoned", "process_started", lambda _: "dead"),
            *(
                (f"oneoff.{module}", "clock", later)
                for module in (
                    "runtime.approvals.use",
                    "services.approvals.decide",
                    "services.approvals.facts",
                    "services.approvals.request",
                )
            ),
        ):
            stack.enter_context(patch(f"{target}.{name}", new))
        yield


class Machine(RuleBasedStateMachine):
    """All that operators do to one batch and to the approvals of one command."""

    approvals = Bundle("approvals")

    def __init__(self, server: Postgres, template: str) -> None:
        super().__init__()
        self._stack = ExitStack()
        name = self._stack.enter_context(server.database(template))
        self.url = server.url(name)
        make_tally(self.url, ROWS)
        self._runner = self._stack.enter_context(asyncio.Runner())
        self.dead: set[str] = set()
        self.offset = [timedelta()]
        self._stack.enter_context(killable(self.dead, self.offset))
        self.gate = asyncio.Semaphore(0)
        paint.gates.append(self.gate)
        environ = {"DATABASE_URL": self.url, "CODE_VERSION": "v1", "LOG_LEVEL": "error"}
        self.manage = Manage(NAME, str(ROOT), environ)
        self.task: asyncio.Task[Finished] | None = None
        self.replaced: list[asyncio.Task[Finished]] = []
        self.has_lost = self.goes_on = False
        self.batches: dict[str, tuple[str, int, int]] = {}
        self.runs: dict[str, str] = {}
        self.granted: dict[str, tuple[str, str, datetime]] = {}
        self.wiped = 0

    # Helpers

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, while the batch goes on."""

        async def in_time() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await work

        return self._runner.run(in_time())

    def line(self, line: str, who: str, **environ: str) -> Finished:
        """Run a command line of an operator to its end."""
        done: Finished = self.do(
            self.manage(line, environ={"OPERATOR": who, "ENVIRONMENT": "test", **environ})
        )
        return done

    def live(self, line: str, who: str) -> Finished:
        """Run a command line in production."""
        return self.line(line, who, ENVIRONMENT="production")

    @property
    def is_running(self) -> bool:
        """Whether a run works on the batch."""
        return self.task is not None and not self.task.done()

    def current(self) -> tuple[str, str, str]:
        """Return the newest batch, its state, and its run."""
        newest = "SELECT id, status, run_id FROM oneoff_batches ORDER BY started_at DESC LIMIT 1"
        found = query(self.url, newest)
        return found[0] if found else ("", "", "")

    def is_taken_for_dead(self) -> bool:
        """Return whether the run has lost its lock, or was closed as abandoned because of that."""
        return self.has_lost or self.runs.get(self.current()[2]) == "abandoned"

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not (holds() or (self.task and self.task.done())):  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.005)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Let the run go on until something holds, or until it has ended."""
        self.do(self._until(holds))

    def at_gate(self) -> int:
        """Return how many runs wait at the gate."""
        return len([one for one in self.gate._waiters or () if not one.done()])

    def is_waiting(self, beside: int = 0) -> bool:
        """Return whether the run waits, at the gate beside others, or because it is paused."""
        return self.at_gate() > beside or self.current()[1] == "paused"

    # Batches

    @rule(who=people)
    def start(self, who: str) -> None:
        """Begin or resume the batch. It is refused while another run works on it.

        A run that has lost its lock is replaced: it is taken for dead.
        """
        if self.is_running and not self.is_taken_for_dead():
            assert TEMPORARY == self.line("paint --confirm", who).exit_code
            return
        if self.is_running and self.task is not None:
            self.replaced.append(self.task)
        others, self.has_lost = self.at_gate(), False

        async def begin() -> None:
            environ = {"OPERATOR": who, "ENVIRONMENT": "test"}
            self.task = asyncio.create_task(self.manage("paint --confirm", environ=environ))

        self.do(begin())
        self.wait_until(lambda: self.is_waiting(others))

    @precondition(lambda self: self.is_running)
    @rule()
    def step(self) -> None:
        """Let the run do one batch of rows. One that was replaced fails."""
        for _ in range(self.at_gate()):
            self.gate.release()
        # It takes its lock again only when it connects again.
        self.has_lost = self.has_lost and self.goes_on
        if self.replaced:
            self.do(asyncio.wait(self.replaced))
            self.replaced.clear()
        self.wait_until(self.is_waiting)

    @precondition(lambda self: self.batches)
    @rule(who=people, what=st.sampled_from(["pause", "resume", "cancel --confirm"]))
    def control(self, who: str, what: str) -> None:
        """Control the batch. What makes no sense changes nothing."""
        batch, state, _ = self.current()
        verb, _, flags = what.partition(" ")
        done = self.line(f"batch {verb} {batch} {flags}", who)
        is_resumable = self.is_running and not self.is_taken_for_dead() and state != "cancelled"
        fails = verb == "resume" and state != "finished" and not is_resumable
        assert fails == (done.exit_code == 1), done.stderr
        if verb == "resume" and state == "paused" and not fails:
            self.wait_until(lambda: bool(self.at_gate()))

    @precondition(lambda self: self.is_running)
    @rule(how=st.sampled_from(["interrupt", "kill"]))
    def end_run(self, how: str) -> None:
        """End the run by a signal, or without a word."""
        assert self.task is not None
        if how == "kill":
            self.dead.add(self.current()[2])
        self.task.cancel()
        self.do(asyncio.wait([self.task]))
        self.has_lost = False

    @precondition(lambda self: self.is_running and self.current()[1] == "running")
    @rule(role=st.sampled_from(["%", "audit"]))
    def lose_connections(self, role: str) -> None:
        """End all sessions of the run, or only the one whose lock shows that it is alive."""
        self.has_lost, self.goes_on = True, role == "audit"
        query(self.url, END_SESSIONS.format(role=role, run=self.current()[2]))

    @precondition(lambda self: self.is_running and self.current()[1] == "running")
    @rule(who=people)
    def replace_run(self, who: str) -> None:
        """Let a second run take over the batch of a run that is alive, and let both go on."""
        self.lose_connections("audit")
        self.start(who)
        self.step()

    # Approvals

    @rule(target=approvals, who=people)
    def request(self, who: str) -> str:
        """Request to wipe what is old."""
        asked = self.live("approval request --reason r --json -- wipe old", who)
        assert 0 == asked.exit_code, asked.stderr
        found = str(asked.json["data"]["id"])
        expires = datetime.fromisoformat(asked.json["data"]["expires_at"])
        self.granted[found] = (who, "requested", expires)
        return found

    def state_of(self, approval: str) -> str:
        """Return the state that the model expects now."""
        _, state, expires = self.granted[approval]
        is_open = state in ("requested", "approved")
        return "expired" if is_open and datetime.now(UTC) + self.offset[0] >= expires else state

    @rule(
        approval=approvals,
        who=people,
        verb=st.sampled_from(["approve", "approve", "reject", "withdraw"]),
    )
    def decide(self, approval: str, who: str, verb: str) -> None:
        """Decide an open one; nobody approves his own."""
        requester, _, expires = self.granted[approval]
        state = self.state_of(approval)
        done = self.live(f"approval {verb} {approval} --reason r", who)
        if state not in ("requested", "approved"):
            assert 0 != done.exit_code
        elif verb == "approve":
            expected = REFUSED if who == requester else 0
            assert state == "approved" or expected == done.exit_code, done.stderr
        if done.exit_code == 0 and state in ("requested", "approved"):
            ended = {"approve": "approved", "reject": "rejected", "withdraw": "withdrawn"}[verb]
            self.granted[approval] = (requester, ended, expires)

    @rule(approval=approvals, who=people)
    def use(self, approval: str, who: str) -> None:
        """Use one. An approved one starts one run, and no other starts any."""
        state = self.state_of(approval)
        done = self.live(f"wipe old --approval {approval}", who)
        assert (state == "approved") == (done.exit_code == 0), (state, done.stderr)
        if state == "approved":
            requester, _, expires = self.granted[approval]
            self.granted[approval] = (requester, "used", expires)
            self.wiped += 1

    @precondition(lambda self: self.granted)
    @rule()
    def pass_a_day(self) -> None:
        """Let what is open expire."""
        self.offset[0] += timedelta(days=1)

    # What always holds

    @invariant()
    def transitions_are_legal(self) -> None:
        """Check that what has ended stays as it is, and that each batch does its rows once."""
        ((found, least, most, total),) = query(self.url, PROGRESS)
        for batch, state, fence, done in json.loads(found or "[]"):
            old, old_fence, old_done = self.batches.get(batch, (state, 0, 0))
            assert state in BATCH[old], f"batch {batch}: {old} -> {state}"
            assert (True, True) == (fence >= old_fence, done >= old_done)
            self.batches[batch] = (state, fence, done)
        states = [state for state, *_ in self.batches.values()]
        assert len([state for state in states if state not in ENDED]) <= 1
        assert states.count("finished") <= least <= most <= len(states)
        assert total == sum(done for *_, done in self.batches.values())
        for run, status in query(self.url, RUNS):
            old = self.runs.get(run, RUN_STARTED)
            assert old in (*UNSURE, status), f"run {run}: {old} -> {status}"
            self.runs[run] = status

    @invariant()
    def approvals_are_as_expected(self) -> None:
        """Check that each is in the state that its decisions give it."""
        if not self.granted:
            return
        listed = self.live("approval list --all --json", "ada").json["data"]
        found = {row["id"]: row["state"] for row in listed}
        assert {name: self.state_of(name) for name in self.granted} == found
        succeeded = "SELECT count(*) FROM oneoff_runs WHERE command = 'wipe' AND NOT dry_run"
        assert [(self.wiped,)] == query(
            self.url, f"{succeeded} AND status IN ('succeeded', 'unchanged')"
        )

    def teardown(self) -> None:
        """Check that nothing is stuck: the batch and all runs come to their ends."""
        try:
            self._end()
        finally:
            for task in filter(None, [self.task, *self.replaced]):
                task.cancel()
                self.do(asyncio.wait([task]))
            paint.gates.remove(self.gate)
            self._stack.close()

    def _end(self) -> None:
        for _ in range(100):
            self.gate.release()
        while self.is_running:
            self.wait_until(lambda: self.current()[1] == "paused")
            if self.line(f"batch resume {self.current()[0]}", "bob").exit_code:
                break  # nobody knows that a run works on it, so the next one replaces it
        done = self.line("paint --confirm", "cat")
        if tasks := [*filter(None, [self.task, *self.replaced])]:
            self.do(asyncio.wait(tasks))
        assert 0 == done.exit_code, done.stderr
        assert "finished" == self.current()[1]
        self.transitions_are_legal()
        self.line("audit list", "cat")
        open_runs = query(self.url, f"SELECT id FROM oneoff_runs WHERE status = '{RUN_STARTED}'")
        assert [] == open_runs
        verified = self.line("audit verify", "cat")
        assert 0 == verified.exit_code, verified.stdout
