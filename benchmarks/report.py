"""Format the results of a run, as a table and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rows import Goal, Row

COLUMNS = "{:<45} {:<20} {:>9} {:>9} {:>7}  {}"


@dataclass(frozen=True)
class Figures:
    """The medians of one row, in milliseconds; `ours` is None if only peers were measured."""

    row: Row
    runs: int
    peers: dict[str, float]
    ours: float | None

    def verdict(self, goal: Goal) -> str:
        """Return "met", "MISSED", "not reached" for a stretch goal, or "not measured"."""
        if self.ours is None:
            return "not measured"
        limit = goal.limit if goal.against is None else goal.limit * self.peers[goal.against]
        if self.ours <= limit:
            return "met"
        return "not reached" if goal.stretch else "MISSED"

    def missed(self) -> bool:
        """Return whether a goal was missed; stretch goals don't count."""
        return any(self.verdict(goal) == "MISSED" for goal in self.row.goals)

    def lines(self) -> Iterable[str]:
        """Return one line for each peer, with our time, the ratio, and the goals for that peer."""
        title = self.row.title
        for peer, milliseconds in self.peers.items():
            ours = "" if self.ours is None else f"{self.ours:.0f}"
            ratio = "" if self.ours is None else f"{self.ours / milliseconds:.2f}"
            goals = ", ".join(self._goal(goal) for goal in self.row.goals if goal.against == peer)
            yield COLUMNS.format(title, peer, f"{milliseconds:.0f}", ours, ratio, goals).rstrip()
            title = ""
        for goal in self.row.goals:
            if goal.against is None:
                yield COLUMNS.format("", "(limit)", "", "", "", self._goal(goal)).rstrip()

    def as_json(self) -> dict[str, object]:
        """Return the row as plain data."""
        goals = [asdict(goal) | {"verdict": self.verdict(goal)} for goal in self.row.goals]
        return {
            "row": self.row.name,
            "title": self.row.title,
            "runs": self.runs,
            "peers_ms": self.peers,
            "ours_ms": self.ours,
            "goals": goals,
        }

    def _goal(self, goal: Goal) -> str:
        limit = f"{goal.limit:.0f} ms" if goal.against is None else f"{goal.limit:.2f} x"
        return f"{'stretch ' if goal.stretch else ''}<= {limit}: {self.verdict(goal)}"


def header() -> str:
    """Return the first line of the table."""
    return COLUMNS.format("row (500 commands)", "peer", "peer, ms", "ours, ms", "ratio", "goal")


def summary(figures: Sequence[Figures], failed: Sequence[Row]) -> str:
    """Return the last lines: the rows that missed a goal, and those that were not measured."""
    missed = [one.row.name for one in figures if one.missed()]
    lines = [f"goals MISSED: {', '.join(missed) or 'none'}"]
    if failed:
        lines.append(f"NOT MEASURED: {', '.join(row.name for row in failed)}")
    return "\n".join(lines)
