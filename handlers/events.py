"""The App Home was opened: publish what this person may see."""

from __future__ import annotations

from typing import Any

from slack_bolt.async_app import AsyncApp

from handlers.context import Services


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the event (https://docs.slack.dev/reference/events/app_home_opened)."""

    @app.event("app_home_opened")
    async def opened(event: dict[str, Any]) -> None:
        """Publish in the background."""
        if event.get("tab") == "home":
            services.tasks.start(services.home.opened(event["user"]))
