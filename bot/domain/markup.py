"""Other people's words in Slack's markup (https://docs.slack.dev/messaging/formatting-message-text)."""

from __future__ import annotations

import re

# Slack has no escape for these, and a backslash is shown (https://github.com/slackhq/slack-api-docs/issues/34). Each is
# replaced by a character that looks the same and formats nothing.
LOOKALIKES = {"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb", ":": "\ua789"}
# An underscore between two letters or digits formats nothing, so it stays as it is; so does a colon that cannot begin
# an emoji's name, as in ":phone:".
FORMATTING = re.compile(r"[*~`]|_(?:(?<![^\W_]_)|(?![^\W_]))|:(?=[\w'+-]+:)")
# What must not be cut in two: an escaped character, or a mention, link or date.
WHOLE = re.compile(r"&(?:amp|lt|gt);|<[^<>]*>|.", re.DOTALL)


def escape(text: str) -> str:
    """Escape the three characters that Slack asks for, so that text makes no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def literal(text: str) -> str:
    """Return text that did not come from the bot itself so that Slack shows it as it is, without formatting."""
    return FORMATTING.sub(lambda found: LOOKALIKES[found[0]], escape(text))


def length(text: str) -> int:
    """Return the length in UTF-16 units, in which most emoji count two.

    Slack does not document what it counts as a character: this is the larger of the two usual ways.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(markup: str, longest: int) -> str:
    """Return markup with a length of at most `longest`; what is cut off becomes an ellipsis."""
    if length(markup) <= longest:
        return markup
    parts, room = WHOLE.finditer(markup), longest - 1
    kept, part = "", next(parts)[0]
    while (room := room - length(part)) >= 0:  # not all of it fits, so there is always another part
        kept, part = kept + part, next(parts)[0]
    return f"{kept}…"
