"""The payloads that Slack sends to the bot."""

from __future__ import annotations

from typing import Any

from sandbox.slack_models import APP, BOT_USER, COMMAND, TEAM, Note, NotThereError
from sandbox.slack_state import State


class Payloads(State):
    """Build a payload of each kind as the workspace would send it now."""

    def command_fields(self, user: str, channel: str, text: str, team: str = TEAM) -> dict[str, Any]:
        """Return the fields of a slash command."""
        return {
            "token": "old",
            "team_id": team,
            "team_domain": "stand-in",
            "channel_id": channel,
            "channel_name": self.channels[channel].name,
            "user_id": user,
            "user_name": self.people.get(user, user),
            "command": COMMAND,
            "text": text,
            "api_app_id": APP,
            "is_enterprise_install": "false",
            "response_url": self._response_url(channel, user, None),
            "trigger_id": self._trigger(user),
        } | ({"enterprise_id": self.enterprise_id, "enterprise_name": "Stand-in Org"} if self.enterprise_id else {})

    def click_payload(self, user: str, note: Note, label: str, team: str | None = TEAM) -> dict[str, Any]:
        """Return the payload of a click on a message's button. Raises NotThereError if no button has this label."""
        if label not in note.buttons:
            raise NotThereError(f"no button {label!r} on {note.text!r}")
        return self._on_message(user, note, team, self._button_action(note.buttons[label]))

    def choice_payload(
        self, user: str, note: Note, option: dict[str, Any] | None, team: str | None = TEAM
    ) -> dict[str, Any]:
        """Return the payload of a choice in a message's menu."""
        menu = note.menu or {}
        action = {"type": menu["type"], "action_id": menu["action_id"], "block_id": "b1", "selected_option": option}
        return self._on_message(user, note, team, action)

    def suggestion_payload(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> dict[str, Any]:
        """Return the payload that Slack sends while a person types in a menu."""
        return self._sender(user, team) | {
            "type": "block_suggestion",
            "action_id": (note.menu or {})["action_id"],
            "block_id": "b1",
            "value": typed,
            "container": {"type": "message", "message_ts": note.ts, "channel_id": note.channel, "is_ephemeral": True},
            "channel": {"id": note.channel, "name": self.channels[note.channel].name},
        }

    def form_suggestion_payload(
        self, user: str, view: dict[str, Any], typed: str, team: str | None = TEAM
    ) -> dict[str, Any]:
        """Return the payload that Slack sends while a person types in a menu of a modal: it has no channel."""
        field = next(b for b in view["blocks"] if b.get("element", {}).get("type") == "external_select")
        return self._sender(user, team) | {
            "type": "block_suggestion",
            "action_id": field["element"]["action_id"],
            "block_id": field["block_id"],
            "value": typed,
            "container": {"type": "view", "view_id": "V0DIALOG"},
            "view": {"id": "V0DIALOG", "team_id": TEAM} | view,
        }

    def submission_payload(
        self, user: str, view: dict[str, Any], given: dict[str, Any], team: str | None = TEAM
    ) -> dict[str, Any]:
        """Return the payload of a submitted modal; `given` is what the person entered, by block_id.

        https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload. Raises NotThereError where
        Slack's client lets nobody submit it: a required field is empty, or a text has another length than allowed.
        """
        values: dict[str, Any] = {}
        urls = []
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            name, element = block["block_id"], block["element"]
            entered = given.get(name, element.get("initial_option", element.get("initial_conversation")))
            if not entered and not block.get("optional"):
                raise NotThereError(f"{name} is required")
            shown: dict[str, Any] = {"type": element["type"]}
            if element["type"] == "plain_text_input":
                if entered and not element.get("min_length", 0) <= len(entered) <= element.get("max_length", 3000):
                    raise NotThereError(f"{name} has {len(entered)} characters")
                shown["value"] = entered or None
            elif element["type"] == "conversations_select":
                shown["selected_conversation"] = entered
                if element.get("response_url_enabled"):
                    url = {"block_id": name, "action_id": element["action_id"], "channel_id": entered}
                    urls.append(url | {"response_url": self._response_url(entered, user, None)})
            else:
                shown["selected_option"] = entered
            values[name] = {element["action_id"]: shown}
        return self._sender(user, team) | {
            "type": "view_submission",
            "trigger_id": self._trigger(user),
            "view": {"id": "V0DIALOG", "team_id": TEAM, "private_metadata": ""} | view | {"state": {"values": values}},
            "response_urls": urls,
        }

    def home_event(self, user: str, tab: str = "home") -> dict[str, Any]:
        """Return the event of an opened App Home; it does not name the person's team."""
        event = {"type": "app_home_opened", "user": user, "channel": f"D0{user}", "tab": tab, "event_ts": self._ts()}
        payload = {"type": "event_callback", "team_id": TEAM, "api_app_id": APP, "token": "old", "event": event}
        if self.enterprise_id:
            payload["enterprise_id"] = self.enterprise_id
        return payload | {"event_id": f"Ev{self._ts()}", "event_time": int(self.now())}

    def home_click_payload(self, user: str, button: dict[str, Any], team: str | None = TEAM) -> dict[str, Any]:
        """Return the payload of a click in the App Home: it has no channel and no response_url."""
        return self._sender(user, team) | {
            "type": "block_actions",
            "container": {"type": "view", "view_id": "V0HOME"},
            "trigger_id": self._trigger(user),
            "view": {"id": "V0HOME", "team_id": TEAM, "type": "home", "blocks": self.homes[user]},
            "actions": [self._button_action(button)],
        }

    def _button_action(self, button: dict[str, Any]) -> dict[str, Any]:
        action = {key: button[key] for key in ("action_id", "text", "value", "type")}
        return action | {"block_id": "b1", "action_ts": self._ts()}

    def _on_message(self, user: str, note: Note, team: str | None, action: dict[str, Any]) -> dict[str, Any]:
        payload = self._sender(user, team) | {
            "type": "block_actions",
            "container": {
                "type": "message",
                "message_ts": note.ts,
                "channel_id": note.channel,
                "is_ephemeral": note.to is not None,
            },
            "channel": {"id": note.channel, "name": self.channels[note.channel].name},
            "state": {"values": {}},
            "trigger_id": self._trigger(user),
            "response_url": self._response_url(note.channel, user, note.ts),
            "actions": [action],
        }
        if note.to is None:  # Slack does not send the content of an ephemeral message
            message = {"type": "message", "user": BOT_USER, "ts": note.ts, "text": note.text, "blocks": note.blocks}
            payload["message"] = message
        return payload

    def _sender(self, user: str, team: str | None) -> dict[str, Any]:
        """Return the user and the workspace; without a team `user.team_id` is missing, as bolt-js's types allow."""
        who = {"id": user, "username": self.people.get(user, user)} | ({} if team is None else {"team_id": team})
        place = {"id": TEAM, "domain": "stand-in"}
        payload = {"team": place, "user": who, "api_app_id": APP, "token": "old", "is_enterprise_install": False}
        if self.enterprise_id:
            place |= {"enterprise_id": self.enterprise_id, "enterprise_name": "Stand-in Org"}
            payload["enterprise"] = {"id": self.enterprise_id, "name": "Stand-in Org"}
        return payload


def title(payload: dict[str, Any]) -> str:
    """Describe a payload in a few words."""
    if "command" in payload:
        return f"{payload['command']} {payload.get('text', '')}".strip()
    if "event" in payload:
        return str(payload["event"]["type"])
    who = payload.get("user", {}).get("username", "")
    if payload.get("type") == "block_suggestion":
        return f"{who} types {payload.get('value', '')!r} in the menu"
    if payload.get("type") == "view_submission":
        return f"{who} submits {payload['view'].get('title', {}).get('text', 'a modal')}"
    action = (payload.get("actions") or [{}])[0]
    return f"{who} clicks {action['text']['text']}" if "text" in action else f"{who} chooses in the menu"
