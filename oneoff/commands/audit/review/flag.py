"""`audit review flag`."""

from __future__ import annotations

from oneoff.commands.audit.review.approve import Approve


class Flag(Approve):
    """Record that a run of somebody else was not right.

    The review is added to the audit events of that run, with the text of --reason.
    """

    examples = ("audit review flag 0123456789 --reason 'as agreed in INC-7'",)
    verdict = "flagged"
