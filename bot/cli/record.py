"""What `python -m bot history --json` prints about a request: a contract with the programs that read it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, Field

from bot.domain.models import Outcome, Request


class OutcomeRecord(BaseModel):
    """How one attempt ended, and how far its delivery is."""

    request_id: str = Field(description="Id of the request")
    attempt: int = Field(description="The confirmation that it belongs to, counted from 1; 0 if nobody confirmed")
    code: str = Field(description="Outcome code; a later release can add codes")
    message: str = Field(description="Cellcast's own message; empty if there is none")
    retry_at: float | None = Field(description="When Cellcast allows the next call; null if it did not say so")
    after_unknown: bool = Field(description="Whether the outcome of an earlier attempt for this number is unknown")
    decided_by: str | None = Field(description="Id of the person who confirmed or kept; null if nobody did")
    decided_at: float | None = Field(description="When that person did so; null if nobody did")
    settled_at: float = Field(description="When the outcome was stored")
    delivery_attempts: int = Field(description="How often the bot has begun to deliver it")
    message_posted_at: float | None = Field(description="When Slack accepted its message; null if there is none")
    delivered_at: float | None = Field(description="When it was delivered in full, or closed; null before that")
    correction: bool = Field(description="Whether it replaced the outcome `interrupted`, which people may have read")
    undeliverable_since: float | None = Field(description="When Slack first rejected every way; null if it never did")
    closed_at: float | None = Field(
        description="When an operator closed it (`delivered`, `restored`); null if nobody did"
    )


class RequestRecord(BaseModel):
    """A request as it is now, with its outcomes: one line of JSON."""

    version: Literal[1] = Field(description="Version of this shape")
    id: str = Field(description="Id of the request, as the log has it")
    number_id: str = Field(description="Cellcast's id of the number")
    phone: str | None = Field(description="Its phone number in the list of numbers; null if the list had none")
    label: str | None = Field(description="Its label in the list; null if the list had none")
    warning: str | None = Field(description="Its warning in the list; null if the list had none")
    reason: str | None = Field(description="What the requester gave as the reason; null without one")
    status: str = Field(description="Status of the request; a later release can add statuses")
    attempt: int = Field(description="How often it was confirmed")
    dry_run: bool = Field(description="Whether it is a dry run, in which no call is made")
    channel: str = Field(description="Id of the channel")
    requested_by: str = Field(description="Id of the requester")
    requested_at: float = Field(description="When it was requested")
    expires_at: float | None = Field(description="Until when a click can confirm it or try it again; null if none can")
    decided_by: str | None = Field(description="Id of the person who last confirmed or kept; null if nobody did")
    decided_at: float | None = Field(description="When that person did so; null if nobody did")
    call_started_at: float | None = Field(description="When the call of the last attempt may have been sent; else null")
    card_posted: bool = Field(description="Whether the bot knows that its card is in the channel")
    card_ts: str | None = Field(description="Slack's id of the card; null if it is unknown")
    outcomes: list[OutcomeRecord] = Field(description="One for each attempt that has ended, in their order")


def line(request: Request, outcomes: list[Outcome]) -> str:
    """Return one line of JSON in ASCII, so that no terminal and no reader of lines can break it."""
    found = {**vars(request), "version": 1, "outcomes": [vars(outcome) for outcome in outcomes]}
    return json.dumps(RequestRecord.model_validate(found).model_dump())
