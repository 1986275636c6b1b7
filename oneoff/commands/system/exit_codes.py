"""`system exit-codes`."""

from __future__ import annotations

from typing import Literal

from oneoff import Access, BaseCommand, Option, Result

Format = Literal["table", "pod-failure-policy", "indexed-pod-failure-policy"]


class ExitCodes(BaseCommand):
    """List the exit codes, or print them as a policy for a Kubernetes Job.

    A Job with this policy fails at once if a retry can't help, and starts another pod otherwise.
    The indexed policy is for a Job in which each pod works on one shard of a batch: an error in
    one shard fails only that shard. It needs backoffLimitPerIndex.
    """

    access = Access.READ
    examples = ("system exit-codes", "system exit-codes --format pod-failure-policy")

    format: Format = Option(default="table", help="What to print: a table, or YAML for a Job.")

    def handle(self) -> Result:
        from oneoff.services.exit_codes import pod_failure_policy, table

        if self.format == "table":
            return Result.report(table())
        return Result.report(pod_failure_policy(indexed=self.format.startswith("indexed")))
