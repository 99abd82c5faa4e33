"""Other people's words in Slack's markup (https://docs.slack.dev/messaging/formatting-message-text)."""

from __future__ import annotations

import re

# Slack has no escape for these, and a backslash is shown (https://github.com/slackhq/slack-api-docs/issues/34). Each is
# replaced by a character that looks the same and formats nothing.
LOOKALIKES = {"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"}
# An underscore between two letters or digits formats nothing, so it stays as it is.
FORMATTING = re.compile(r"[*~`]|(?<![^\W_])_|_(?![^\W_])")
# What must not be cut in two: an escaped character, or a mention, link or date.
WHOLE = re.compile(r"&(?:amp|lt|gt);|<[^<>]*>|.", re.DOTALL)


def escape(text: str) -> str:
    """Escape the three characters that Slack asks for, so that text makes no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def literal(text: str) -> str:
    """Return text that did not come from the bot itself so that Slack shows it as it is, without formatting."""
    return FORMATTING.sub(lambda found: LOOKALIKES[found[0]], escape(text))


def cut(markup: str, longest: int) -> str:
    """Return markup with at most `longest` characters; what is cut off becomes an ellipsis."""
    if len(markup) <= longest:
        return markup
    end = max((part.end() for part in WHOLE.finditer(markup) if part.end() < longest), default=0)
    return f"{markup[:end]}…"
