"""The line about an outcome in the audit channel. It mentions nobody: names are plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from bot.domain.markup import cut, literal
from bot.domain.models import Message, Outcome, Request
from bot.domain.status import OutcomeCode
from bot.views.blocks import message, section
from bot.views.outcomes import CORRECTION, headline, in_short
from bot.views.text import moment, place

MAX_NAME = 200  # after escaping
# People choose their names: what separates the parts of a line, or turns its direction, must not come from one of them.
NAME_SIGNS = "-'\N{RIGHT SINGLE QUOTATION MARK}.,/&"


def line(request: Request, outcome: Outcome, names: Mapping[str, str], link: str | None) -> Message:
    """Return the line about an outcome. `names` are those that Slack gave, and `link` leads to the card.

    The reason is last, because its words could look like another part.
    """
    code = outcome.code
    decided = "kept" if code is OutcomeCode.KEPT else "confirmed"
    where = place(request.channel)
    parts = [
        headline(request, outcome),
        in_short(outcome),
        CORRECTION if outcome.correction else "",
        "dry run" if request.dry_run or code is OutcomeCode.DRY_RUN else "",
        f"attempt {outcome.attempt}" if outcome.attempt else "no call",
        f"requested by {_who(request.requested_by, names)}",
        f"{decided} by {_who(outcome.decided_by, names)}" if outcome.decided_by else "",
        moment(outcome.settled_at),
        f"<{link}|card> in {where}" if link else f"in {where}",
        f"reason: {literal(request.reason)}" if request.reason else "",
    ]
    return message([section(" · ".join(filter(None, parts)))])


def _who(user_id: str, names: Mapping[str, str]) -> str:
    """Return a person's name with the id, or the id alone."""
    name = "".join(sign if _belongs_to_a_name(sign) else " " for sign in names.get(user_id, ""))
    name = " ".join(name.split())
    return f"{cut(literal(name), MAX_NAME)} ({user_id})" if name else user_id


def _belongs_to_a_name(sign: str) -> bool:
    """Return whether it is a letter, a mark of one, a digit, or one of the few other signs in names."""
    return unicodedata.category(sign)[0] in "LMN" or sign in NAME_SIGNS
