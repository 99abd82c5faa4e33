"""docs/messages.md: every message that a person can see."""

from __future__ import annotations

import re
from typing import Any

from bot.cli.samples import Row, rows


def said_by(blocks: list[dict[str, Any]]) -> str:
    """All that blocks say, buttons aside."""
    lines: list[str] = []
    for block in blocks:
        texts = [block.get("text"), *(block.get("elements", []) if block["type"] == "context" else [])]
        texts += [block.get("label"), block.get("element", {}).get("placeholder")]
        lines += [text["text"] for text in texts if text is not None]
    return "\n".join(lines)


def table() -> str:
    """The document."""
    lines = [
        "# Every message that a person can see",
        "",
        "Written by `python tools/docs.py` from the bot's own functions, and compared by CI. Names, numbers and",
        "times are made up; times are Slack dates, so each reader sees them in their own time zone.",
    ]
    part = ""
    for row in rows():
        if row.part != part:
            part = row.part
            lines += [
                "",
                f"## {part}",
                "",
                "| when | who sees it | what it says | buttons |",
                "| --- | --- | --- | --- |",
            ]
        title = f"*{row.form['title']['text']}*\n" if row.form else ""
        lines.append(f"| {row.when} | {row.who} | {shown(title + row.message.text)} | {_labels(row)} |")
    return "\n".join(lines) + "\n"


def shown(text: str) -> str:
    """Slack's markup as a cell of a table."""
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<@U0(\w)(\w+)>", lambda m: f"@{m[1]}{m[2].lower()}", text)
    text = re.sub(r"<#C0(\w+)>", lambda m: f"#{m[1].lower()}", text)
    text = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r"[\2](\1)", text)
    text = re.sub(r"\*([^*\n]+)\*", r"**\1**", text)
    return text.replace("|", "&#124;").replace("\n", "<br>")


def _labels(row: Row) -> str:
    found = [e["text"]["text"] for b in row.message.blocks if b["type"] == "actions" for e in b["elements"]]
    menus = ["a menu of numbers" for b in row.message.blocks if "accessory" in b]
    if row.form is not None:
        found = [row.form["submit"]["text"], row.form["close"]["text"]]
    return ", ".join([*found, *menus])
