"""What Slack sends, in the shape that the bot knows: anything else is answered before a listener sees it.

Bolt is handed only fields that were looked at here, so nothing odd in a payload can trip a library over. Shapes:
https://docs.slack.dev/interactivity/implementing-slash-commands and
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator
from slack_bolt.response import BoltResponse

from bot import cards

Id = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,32}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]{1,500}$")]
Ts = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}\.[0-9]{1,12}$")]
Short = Annotated[str, StringConstraints(max_length=255)]


class Command(BaseModel):
    """A slash command."""

    command: Short
    text: str = ""
    user_id: Id
    team_id: Id
    channel_id: Id
    response_url: Url | None = None


class Owner(BaseModel):
    """Something with an id."""

    id: Id


class User(Owner):
    """Who pressed: in a shared channel the person's own team is another."""

    team_id: Id


class Container(BaseModel):
    """Where the button stands: a message has a ts, the App Home none."""

    type: Literal["message", "view"] = "message"
    message_ts: Ts | None = None


class Option(BaseModel):
    """What was chosen in a menu."""

    value: Short


class Action(BaseModel):
    """The button, or the menu."""

    type: Literal["button", "external_select"]
    action_id: Short
    value: Annotated[str, StringConstraints(max_length=2000)] = ""
    selected_option: Option | None = None


class Press(BaseModel):
    """A press of a button, or a choice, on a message or in the App Home."""

    type: Literal["block_actions"]
    user: User
    team: Owner | None = None
    channel: Owner | None = None
    container: Container
    actions: Annotated[list[Action], Field(min_length=1, max_length=1)]
    trigger_id: Short | None = None
    response_url: Url | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Press:
        of_message = self.channel is not None and self.container.message_ts is not None
        if not of_message and (self.container.type == "message" or self.actions[0].type != "button"):
            raise ValueError("a press on a message names its channel and ts; the App Home has buttons only")
        return self


class Suggestion(BaseModel):
    """What somebody has typed in a menu so far (.../reference/interaction-payloads/block_suggestion-payload)."""

    type: Literal["block_suggestion"]
    user: User
    team: Owner | None = None
    channel: Owner
    action_id: Short
    value: str = ""


class HomeOpened(BaseModel):
    """The event app_home_opened; `tab` tells which (https://docs.slack.dev/reference/events/app_home_opened)."""

    type: Literal["app_home_opened"]
    user: Id
    tab: Literal["home", "messages", "about"]


class OtherEvent(BaseModel):
    """An event that nobody here waits for."""

    type: Short


class Event(BaseModel):
    """An event (https://docs.slack.dev/apis/events-api)."""

    type: Literal["event_callback"]
    team_id: Id | None = None
    event: HomeOpened | OtherEvent


class Handshake(BaseModel):
    """Slack's own questions whether somebody listens: url_verification and ssl_check."""

    type: Literal["url_verification", "ssl_check"]
    challenge: Short = ""


class Unreadable(Exception):
    """Not one that the bot knows; `answer` is what Slack, and where possible the person, gets."""

    def __init__(self, answer: BoltResponse, response_url: str | None) -> None:
        super().__init__("unreadable request")
        self.answer = answer
        self.response_url = response_url


_SHAPES: dict[str, type[BaseModel]] = {"block_actions": Press, "block_suggestion": Suggestion, "event_callback": Event}
SENTENCE = "The bot could not read what Slack sent. Nothing was done. Please try again with the command."


def read(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that the bot knows of a request. Raises Unreadable."""
    model: type[BaseModel] = Handshake
    if "command" in body:
        model = Command
    elif isinstance(body.get("type"), str) and body["type"] in _SHAPES:
        model = _SHAPES[body["type"]]
    elif body.get("ssl_check") is not None:
        body = {"type": "ssl_check"}
    try:
        found = model.model_validate(body, strict=True).model_dump(exclude_none=True)
    except ValidationError:
        raise _unreadable(body) from None
    return found | ({"ssl_check": "1"} if found.get("type") == "ssl_check" else {})


def said_privately(sentence: str) -> BoltResponse:
    """The ack of a command that shows only its person a line."""
    line = cards.private(sentence)
    return BoltResponse(status=200, body={"response_type": "ephemeral", "text": line.text, "blocks": line.blocks})


def _unreadable(body: dict[str, Any]) -> Unreadable:
    if "command" in body:
        return Unreadable(said_privately(SENTENCE), None)
    try:
        url = Owned.model_validate(body, strict=True).response_url
    except ValidationError:
        return Unreadable(BoltResponse(status=400, body={"error": "unreadable request"}), None)
    return Unreadable(BoltResponse(status=200, body=""), url)


class Owned(BaseModel):
    """A payload of which at least the way to answer can be read."""

    response_url: Url
