"""What the fake workspace is made of: channels, messages, acks, and Slack's limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox import block_kit

BOT_USER, TEAM, APP = "U0BOT", "T0HOME", "A0APP"
COMMAND = "/unsubscribe-number"
ACK_SECONDS = 3.0
UNREACHABLE = 502  # the status of an ack when the bot could not be connected to, or hung up
URL_USES, URL_SECONDS = 5, 1800
# A trigger_id opens one view, soon after the click (https://docs.slack.dev/interactivity/handling-user-interaction).
TRIGGER_SECONDS = 3
# Slack closes the socket after a larger frame: https://github.com/slack-go/slack/issues/1196.
FRAME_BYTES = 20_480


@dataclass(frozen=True)
class Channel:
    """A channel; `bot` is whether the bot is a member, `private` whether only members see it."""

    id: str
    name: str
    bot: bool = True
    private: bool = False
    archived: bool = False


@dataclass(frozen=True)
class Note:
    """A message as the channel shows it; `to` is set if only that person sees it.

    `thread` is the message that this one replies to, if any.
    """

    ts: str
    channel: str
    author: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    to: str | None = None
    edited: bool = False
    thread: str | None = None

    @property
    def mentions(self) -> frozenset[str]:
        """Whom the message alerts if it is new: ids, and "here", "channel", "everyone"."""
        return block_kit.mentions(self.text, self.blocks)

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """The buttons by their labels."""
        found = [e for b in self.blocks if b["type"] == "actions" for e in b["elements"]]
        return {e["text"]["text"]: e for e in found}

    @property
    def menu(self) -> dict[str, Any] | None:
        """The menu beside the text, if there is one."""
        return next((b["accessory"] for b in self.blocks if "accessory" in b), None)


@dataclass(frozen=True)
class Offer:
    """The options of a menu, and the label of their group if they are in one."""

    options: list[dict[str, Any]] = field(default_factory=list)
    label: str = ""


@dataclass(frozen=True)
class Ack:
    """The bot's answer to a request: HTTP status (200 on the socket, 0 if too late, or UNREACHABLE), body, seconds."""

    status: int
    body: str
    seconds: float


@dataclass
class ResponseUrl:
    """A response_url: its channel, its user, and how often it was used; `ts` is the message that was clicked."""

    channel: str
    user: str
    made_at: float
    ts: str | None = None
    uses: int = 0


class NotThereError(LookupError):
    """The message or button that a person wants to click is not there."""
