"""(b) The bot that people usually write: AsyncApp with Bolt's defaults, an httpx client for each call, nothing kept."""

from __future__ import annotations

import os
from typing import Any

import httpx
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks import plain

client = AsyncWebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"])
app = AsyncApp(client=client, signing_secret=os.environ["SLACK_SIGNING_SECRET"])
HEADERS = {"Authorization": f"Bearer {os.environ['CELLCAST_API_KEY']}"}


@app.command("/unsubscribe-number")
async def command(ack: Any, command: dict[str, Any], client: AsyncWebClient) -> None:
    """Ack, then post the card."""
    await ack()
    await client.chat_postMessage(channel=command["channel_id"], **plain.card(command["text"]))


@app.action("go")
async def go(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
    """Ack, call, post the outcome."""
    await ack()
    number = body["actions"][0]["value"]
    base = os.environ["CELLCAST_BASE_URL"]
    async with httpx.AsyncClient(timeout=20) as cellcast:
        url = f"{base}/api/v1/apiClient/virtual-number/unsubscribe/{number}"
        said = (await cellcast.put(url, headers=HEADERS)).json()["message"]
    ts = body["container"]["message_ts"]
    await client.chat_update(channel=body["channel"]["id"], ts=ts, text=f"`{number}` done", blocks=[])
    await client.chat_postMessage(channel=body["channel"]["id"], text=f"{said} `{number}`")


async def healthz(_request: web.Request) -> web.Response:
    """It is ready."""
    return web.Response()


if __name__ == "__main__":
    server = app.server(port=int(os.environ["PORT"]), path="/slack/events", host="127.0.0.1")
    server.web_app.router.add_get("/healthz", healthz)
    server.start()
