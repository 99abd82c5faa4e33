"""What Slack sends, in the shape that the bot knows: anything else is answered before a listener sees it.

Bolt is handed only fields that were looked at here, so nothing odd in a payload can trip a library over. Shapes:
https://docs.slack.dev/interactivity/implementing-slash-commands and
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    Json,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from slack_bolt.response import BoltResponse

from bot.receivers.answers import error_ack, kind_of
from bot.views import replies

Id = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,32}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]{1,500}$")]
Ts = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}\.[0-9]{1,12}$")]
Short = Annotated[str, StringConstraints(max_length=255)]
MAX_FIELDS = 5  # how many invalid ones of an unreadable payload the log names


class Payload(BaseModel):
    """A payload that the bot can read, with the ways to answer its person, if it names any."""

    response_url: Url | None = None
    trigger_id: Short | None = None

    def for_bolt(self) -> dict[str, Any]:
        """Return the body that Bolt finds the listener by."""
        return self.model_dump(exclude_none=True)


class Command(Payload):
    """A slash command (https://docs.slack.dev/interactivity/implementing-slash-commands)."""

    command: Short
    text: str = ""
    user_id: Id
    team_id: Id
    channel_id: Id


class Owner(BaseModel):
    """Something with an id."""

    id: Id


class User(Owner):
    """Who acted.

    `team_id` is the person's primary workspace, the organization (in a menu), or missing: the shape is optional in
    https://docs.slack.dev/tools/bolt-js/reference/interfaces/BlockSuggestion.
    """

    team_id: Id | None = None


class Place(BaseModel):
    """The channel of a container, if it names one."""

    channel_id: Id | None = None


class Container(Place):
    """The place of a button: a message has a ts, the App Home has none."""

    type: Literal["message", "message_attachment", "view"] = "message"
    message_ts: Ts | None = None


def _channel(container: Place | None) -> Owner | None:
    return None if container is None or container.channel_id is None else Owner(id=container.channel_id)


class CardButton(BaseModel):
    """A button of a card: its value, and the message that the card is; the App Home has no message."""

    value: str
    channel: Id | None = None
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


class BlockActions(Payload):
    """A click on a button, or a choice in a menu, on a message or in the App Home."""

    type: Literal["block_actions"]
    user: User
    team: Owner | None = None
    channel: Owner | None = None
    container: Container
    actions: Annotated[list[Action], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _somewhere(self) -> BlockActions:
        self.channel = self.channel or _channel(self.container)
        of_message = self.channel is not None and self.container.message_ts is not None
        if not of_message and (self.container.type != "view" or self.actions[0].type != "button"):
            raise ValueError("a click on a message names its channel and ts; the App Home has buttons only")
        return self

    @property
    def button(self) -> CardButton:
        """The button that was clicked."""
        channel = self.channel.id if self.channel else None
        return CardButton(value=self.actions[0].value, channel=channel, message_ts=self.container.message_ts)


class Suggestion(Payload):
    """What somebody has typed in a menu so far (.../reference/interaction-payloads/block_suggestion-payload).

    A menu without a channel is answered too: the choice in it is checked with its channel.
    """

    type: Literal["block_suggestion"]
    user: User
    team: Owner | None = None
    channel: Owner | None = None
    container: Place | None = None
    action_id: Short
    value: str = ""

    @model_validator(mode="after")
    def _somewhere(self) -> Suggestion:
        self.channel = self.channel or _channel(self.container)
        return self


class FormField(BaseModel):
    """What was entered in one field of a form, or chosen in its menu."""

    value: Annotated[str, StringConstraints(max_length=3000)] | None = None
    selected_option: Option | None = None
    selected_conversation: Id | None = None


class FormState(BaseModel):
    """The fields of a form by their block, each with one element."""

    values: dict[Short, Annotated[dict[Short, FormField], Field(min_length=1, max_length=1)]]


class Form(BaseModel):
    """A modal with fields; `private_metadata` is what the bot has put into it: the card's button, or nothing."""

    type: Literal["modal"]
    callback_id: Short
    private_metadata: Json[CardButton] | Literal[""] = ""
    state: FormState


class ResponseUrl(BaseModel):
    """A way to answer in the channel that was chosen in a form."""

    channel_id: Id
    response_url: Url


class Submission(Payload):
    """A form was submitted (.../reference/interaction-payloads/view-interactions-payload).

    Its `response_url` is that of the channel chosen in it, if it asks for one.
    """

    type: Literal["view_submission"]
    user: User
    team: Owner | None = None
    view: Form
    response_urls: list[ResponseUrl] = []

    @model_validator(mode="after")
    def _chosen(self) -> Submission:
        if self.response_urls:
            self.response_url = self.response_urls[0].response_url
        return self

    def field(self, block: str) -> FormField:
        """Return what was entered in a field, nothing if the form has no such field."""
        return next(iter(self.view.state.values.get(block, {}).values()), FormField())


class HomeOpened(BaseModel):
    """The event app_home_opened; `tab` tells which (https://docs.slack.dev/reference/events/app_home_opened)."""

    type: Literal["app_home_opened"]
    user: Id
    tab: Literal["home", "messages", "about"]


class OtherEvent(BaseModel):
    """An event that nobody here waits for."""

    type: Short


class Event(Payload):
    """An event (https://docs.slack.dev/apis/events-api)."""

    type: Literal["event_callback"]
    team_id: Id | None = None
    event: HomeOpened | OtherEvent


class Handshake(Payload):
    """Slack's own question whether somebody listens (https://docs.slack.dev/reference/events/url_verification)."""

    type: Literal["url_verification"]
    challenge: Short = ""


class ReadableWays(Payload):
    """The ways to answer a person, as far as they can be read."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_none(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError:
            return None


class InvalidPayloadError(Exception):
    """The bot cannot read this payload.

    `answer` is the ack for Slack, `kind` the payload's type, `fields` what is invalid in it. A response_url or a
    trigger_id is a way to answer the person.
    """

    def __init__(self, answer: BoltResponse, kind: str, fields: list[str], ways: ReadableWays) -> None:
        super().__init__("unreadable request")
        self.answer, self.kind, self.fields = answer, kind, fields
        self.response_url, self.trigger_id = ways.response_url, ways.trigger_id


_SHAPES: dict[str, type[Payload]] = {
    "block_actions": BlockActions,
    "block_suggestion": Suggestion,
    "view_submission": Submission,
    "event_callback": Event,
}


def parse(body: dict[str, Any]) -> Payload:
    """Return the payload of a request. Raise InvalidPayloadError if the bot can't read it."""
    model: type[Payload] = Handshake
    if "command" in body:
        model = Command
    elif isinstance(body.get("type"), str) and body["type"] in _SHAPES:
        model = _SHAPES[body["type"]]
    try:
        return model.model_validate(body, strict=True)
    except ValidationError as error:
        raise _unreadable(body, error) from None


def _unreadable(body: dict[str, Any], error: ValidationError) -> InvalidPayloadError:
    """Acknowledge what cannot be read: without an ack Slack delivers a payload of the socket again."""
    kind = kind_of(body)
    fields = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})[:MAX_FIELDS]
    answer, needs_reply = error_ack(kind, replies.UNREADABLE_PAYLOAD)
    ways = ReadableWays.model_validate(body, strict=True) if needs_reply else ReadableWays()
    return InvalidPayloadError(answer, kind, fields, ways)
