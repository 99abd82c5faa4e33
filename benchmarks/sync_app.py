"""(c) The synchronous App behind Bolt's own server, with its five worker threads."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from slack_bolt import App, BoltRequest
from slack_sdk import WebClient

from benchmarks import plain

client = WebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"])
app = App(client=client, signing_secret=os.environ["SLACK_SIGNING_SECRET"])
HEADERS = {"Authorization": f"Bearer {os.environ['CELLCAST_API_KEY']}"}


@app.command("/unsubscribe-number")
def command(ack: Any, command: dict[str, Any], client: WebClient) -> None:
    """Ack, then post the card."""
    ack()
    client.chat_postMessage(channel=command["channel_id"], **plain.card(command["text"]))


@app.action("go")
def go(ack: Any, body: dict[str, Any], client: WebClient) -> None:
    """Ack, call, post the outcome."""
    ack()
    number = body["actions"][0]["value"]
    base = os.environ["CELLCAST_BASE_URL"]
    url = f"{base}/api/v1/apiClient/virtual-number/unsubscribe/{number}"
    said = httpx.put(url, headers=HEADERS, timeout=20).json()["message"]
    ts = body["container"]["message_ts"]
    client.chat_update(channel=body["channel"]["id"], ts=ts, text=f"`{number}` done", blocks=[])
    client.chat_postMessage(channel=body["channel"]["id"], text=f"{said} `{number}`")


class Handler(BaseHTTPRequestHandler):
    """Each request in a thread of its own, as Bolt's development server has it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """It is ready."""
        self._answer(200, "")

    def do_POST(self) -> None:
        """A command or a click."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers: dict[str, Any] = {name: [value] for name, value in self.headers.items()}
        answer = app.dispatch(BoltRequest(body=body, headers=headers))
        self._answer(answer.status, answer.body)

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_args: Any) -> None:
        """Quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 4096
    threading.stack_size(256 * 1024)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
