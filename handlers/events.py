"""Events: somebody opened the App Home, which is published for each person."""

from __future__ import annotations

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.receivers.payloads import Event, HomeOpened
from handlers.context import Services, after_ack, payload_of


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the event (https://docs.slack.dev/reference/events/app_home_opened)."""

    @app.event("app_home_opened")
    async def opened(context: AsyncBoltContext) -> None:
        """Publish in the background."""
        event = payload_of(context, Event).event
        if isinstance(event, HomeOpened) and event.tab == "home":
            after_ack(context, services.home.opened(event.user))
