"""python -m bot check: prove a configuration before anyone uses it, one line for each part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import httpx

from bot import PROGRAM
from bot.clients.cellcast import Cellcast
from bot.clients.numbers_file import MAX_ERRORS, NumbersFile
from bot.clients.slack import Slack
from bot.errors import BotError, SlackError
from bot.ledger.schema import SCHEMA_VERSION
from bot.ledger.store import Ledger
from bot.secret_files import FROM_FILES, origin
from bot.service.startup import identify, open_socket, or_start_error, unreachable
from bot.settings import APP_PAGE, EVERYONE, MANIFEST, Settings, signing_secret_doubt
from bot.views.blocks import private

# What to do about Slack's errors for a user group (https://docs.slack.dev/reference/methods/usergroups.users.list).
GROUP_STEPS = {
    "missing_scope": "add the scope usergroups:read to the app and reinstall it",
    "plan_upgrade_required": "user groups need a paid plan of Slack, so list people's ids instead",
}

# Slack allows about 100 calls of users.info a minute (https://docs.slack.dev/reference/methods/users.info).
MAX_LOOKUPS = 50

# What to do about Slack's errors for a message (https://docs.slack.dev/reference/methods/chat.scheduleMessage).
CHANNEL_STEPS = {
    "is_archived": "unarchive the channel, or set another one",
    "missing_scope": f"add the scope chat:write under {APP_PAGE} > OAuth & Permissions, and reinstall the app",
    "restricted_action": "ask an administrator of the workspace to let the app post there",
    "restricted_too_many": "wait five minutes, and check again",
    "time_in_past": "set the clock of this machine",
}
# The message that proves the audit channel would be posted so many seconds ahead: time enough to delete it by hand.
SCHEDULED_AHEAD = 86_400
MAY_COME = "A message of this check may come there tomorrow: you can delete it."

PUBLIC = "chat:write.public"  # optional: the bot can post in public channels that it has not joined


async def check(settings: Settings) -> bool:
    """Prove the tokens, the key, the database and the list of numbers; return whether all of them work."""
    slack = Slack(settings.slack_bot_token.get_secret_value(), settings.slack_api_url)
    cellcast = Cellcast(settings.cellcast_base_url, settings.cellcast_api_key.get_secret_value())
    ledger = Ledger(settings.database_url, create=False)

    async def bot_token() -> str:
        return await prove_bot_token(slack, groups=bool(settings.user_groups))

    async def app_token() -> str:
        if settings.slack_app_token is None:
            return "not set: HTTP mode, Slack's requests are expected at /slack/events"
        await open_socket(slack, settings.slack_app_token.get_secret_value())
        return "a socket can be opened"

    async def signing_secret() -> str:
        if settings.slack_signing_secret is None:
            return "not set: Socket Mode needs none"
        return await believe_signing_secret(settings.slack_signing_secret.get_secret_value())

    async def key() -> str:
        return await prove_key(cellcast)

    async def account() -> str:
        data = await cellcast.account()
        if not data:
            raise BotError("Cellcast does not say which account this key belongs to.")
        return f"{data.get('account_name')}, SMS balance {data.get('sms_balance')}, MMS {data.get('mms_balance')}"

    async def database() -> str:
        return await prove_database(ledger)

    parts: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("Secrets", lambda: _origins(settings)),
        ("Slack bot token", bot_token),
        ("Slack app token", app_token),
        ("Slack signing secret", signing_secret),
        ("People", lambda: _people(settings)),
        ("Slack user groups", lambda: _groups(settings, reading)),
        ("People to notify", lambda: _notified(settings, slack, reading)),
        ("Reminder", lambda: _reminder(settings)),
        ("Reasons", lambda: _reasons(settings)),
        ("Audit channel", lambda: _audit_channel(settings, slack)),
        ("Cellcast key", key),
        ("Cellcast account", account),
        ("Database", database),
        ("List of numbers", lambda: _numbers(settings)),
    ]
    # Both lines about groups have the same answers: Slack allows 20 reads a minute.
    reading = asyncio.create_task(_members(settings.user_groups, slack))
    try:
        return all([await _line(name, prove) for name, prove in parts])
    finally:
        await slack.close()
        await cellcast.close()
        ledger.close()


async def prove_bot_token(slack: Slack, *, groups: bool) -> str:
    """Return whose token it is. Raise BotError if Slack rejects it or it lacks a scope that the bot needs."""
    me = await identify(slack)
    scopes = MANIFEST["oauth_config"]["scopes"]
    optional = set(scopes["bot_optional"]) - ({"usergroups:read"} if groups else set())
    if missing := sorted(set(scopes["bot"]) - optional - me["scopes"]):
        raise BotError(
            f"the app lacks {', '.join(missing)}. Add this under {APP_PAGE} > OAuth & Permissions > Bot Token Scopes, "
            "then reinstall the app."
        )
    invite = "" if PUBLIC in me["scopes"] else f"; without {PUBLIC}, so invite the bot to each channel"
    return f"{me.get('user')} in {me.get('team')} ({me.get('team_id')}){invite}"


async def believe_signing_secret(secret: str) -> str:
    """Return whether a signing secret looks right: only a request of Slack can prove it."""
    doubt = signing_secret_doubt(secret)
    return f"warning: {doubt}" if doubt else "it has the usual form, and only a request of Slack can prove it"


async def prove_key(cellcast: Cellcast) -> str:
    """Return Cellcast's own words. Raise BotError if it does not accept the key or cannot be reached."""
    try:
        fine, words = await cellcast.verify()
    except httpx.HTTPError as error:
        raise BotError(_unreachable(error)) from None
    if not fine:
        raise BotError(f"Cellcast does not accept CELLCAST_API_KEY ({words}). Set the key of your Cellcast account.")
    return words


async def prove_database(ledger: Ledger) -> str:
    """Return what the bot will find at its start. Raise BotError if it cannot use the database. Nothing is changed."""
    found = await or_start_error(ledger.rehearse_start())
    if found is None:
        return "not there yet: the bot creates it when it starts"
    if found < SCHEMA_VERSION:
        return f"can be written: the bot migrates it from schema {found} to {SCHEMA_VERSION} when it starts"
    return "can be read and written"


def _unreachable(error: httpx.HTTPError) -> str:
    return f"Cellcast cannot be reached ({type(error).__name__}). Check the network of this machine."


async def _origins(settings: Settings) -> str:
    """Return where each secret comes from, without its value."""
    known = [name for name in FROM_FILES if getattr(settings, name) is not None]
    return ", ".join(f"{name.upper()} from {origin(name)}" for name in known)


async def _people(settings: Settings) -> str:
    requesters, approvers = settings.allowed_users, settings.people_who_confirm
    second = "; nobody can confirm their own request" if settings.require_second_person else ""
    if requesters == approvers:
        return f"can request and confirm: {_ids(requesters)}{second}"
    return f"can request and keep: {_ids(requesters)}; can confirm: {_ids(approvers)}{second}"


async def _members(groups: frozenset[str], slack: Slack) -> dict[str, frozenset[str]]:
    """Return who is in each user group. Raise BotError, with what to do, if Slack does not say."""
    try:
        return {group: await slack.group_members(group) for group in sorted(groups)}
    except SlackError as error:
        if (sentence := unreachable(error)) is not None:
            raise BotError(sentence) from None
        step = GROUP_STEPS.get(error.code, "check the ids of the groups in ALLOWED_USERS, APPROVERS and NOTIFY_USERS")
        raise BotError(f"Slack does not list their members ({error.code}): {step}.") from None


async def _reminder(settings: Settings) -> str:
    """Return when people are reminded of a card."""
    before = settings.remind_before_seconds
    return f"{before} seconds before the deadline" if before else "none: REMIND_BEFORE_SECONDS is 0"


async def _reasons(settings: Settings) -> str:
    """Return whether a request needs a reason, and in which format."""
    needed = "required" if settings.require_reason else "not required"
    if settings.reason_pattern is None:
        return needed
    return f"{needed}; each must match {settings.reason_pattern}, as {settings.reason_example!r} does"


async def _audit_channel(settings: Settings, slack: Slack) -> str:
    """Return whether the bot can post there. Raise BotError if it cannot, or if a scheduled message is left."""
    channel = settings.audit_channel
    if channel is None:
        return "none: AUDIT_CHANNEL is not set"
    words = private(f"`{PROGRAM} check` scheduled this message as a proof, and could not delete it. You can.")
    try:
        scheduled = await slack.schedule(channel, words, int(time.time() + SCHEDULED_AHEAD))
    except SlackError as error:
        step = CHANNEL_STEPS.get(error.code, "check the id of the channel, and invite the bot with /invite")
        why = unreachable(error) or f"Slack takes no message for {channel} ({error.code}): {step}."
        raise BotError(f"{why} {MAY_COME}" if error.sent else why) from None
    try:
        await slack.unschedule(channel, scheduled)
    except SlackError as error:
        raise BotError(
            f"Slack takes messages for {channel}, but did not delete one again. {error} {MAY_COME}"
        ) from None
    return f"Slack takes messages for {channel}: one that was scheduled for tomorrow is deleted again"


def _listed(ids: frozenset[str], members: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the people whom a setting lists, by their ids and by user groups."""
    return frozenset().union(*(members.get(i, {i}) for i in ids))


async def _groups(settings: Settings, reading: Awaitable[dict[str, frozenset[str]]]) -> str:
    """Return how many members each user group has. Raise BotError if nobody could confirm."""
    members = await reading
    requesters, approvers = (_listed(ids, members) for ids in (settings.allowed_users, settings.people_who_confirm))
    if not approvers:
        raise BotError(
            f"nobody could confirm, because no user group of {_ids(settings.people_who_confirm)} has members. Add "
            "people to it in Slack, or list people's ids."
        )
    if settings.require_second_person and EVERYONE not in approvers and len(approvers) == 1 and requesters <= approvers:
        raise BotError(
            f"nobody could confirm, because only {', '.join(approvers)} can request and confirm, and "
            "REQUIRE_SECOND_PERSON is on. Add someone else who can confirm."
        )
    counts = [f"{group} has {len(members[group]) or 'no'} members" for group in sorted(members)]
    warning = "" if all(members.values()) else "warning: "
    return warning + ", ".join(counts) if counts else "none in ALLOWED_USERS, APPROVERS and NOTIFY_USERS"


async def _notified(settings: Settings, slack: Slack, reading: Awaitable[dict[str, frozenset[str]]]) -> str:
    """Return how many people a new card mentions. Raise BotError if one of them cannot confirm."""
    if not settings.notify_users:
        return "nobody: NOTIFY_USERS is not set"
    members = await reading
    people, approvers = (_listed(ids, members) for ids in (settings.notify_users, settings.people_who_confirm))
    others = [] if EVERYONE in approvers else sorted(people - approvers)
    guests = EVERYONE in approvers and not settings.allow_guests
    for person in sorted(people - set(others))[:MAX_LOOKUPS]:
        if why := await _obstacle(person, slack, guests=guests):
            others.append(f"{person} ({why})")
    if others:
        raise BotError(
            f"{', '.join(others)} cannot confirm. Add them to the people who can, or take them off the list."
        )
    more = f"; only {MAX_LOOKUPS} were looked up" if len(people) > MAX_LOOKUPS else ""
    return f"a new card will notify {len(people)} {'person' if len(people) == 1 else 'people'}{more}"


async def _obstacle(person: str, slack: Slack, *, guests: bool) -> str:
    """Return why a person who is listed cannot confirm all the same; empty if nothing speaks against it.

    `guests` is whether a guest cannot. Raise BotError if Slack does not say who that is.
    """
    try:
        found = await slack.membership(person)
    except SlackError as error:
        if error.code == "user_not_found":
            return "Slack knows no such person"
        raise BotError(unreachable(error) or f"Slack does not say who {person} is ({error.code}).") from None
    if found.deactivated:
        return "deactivated"
    return "a guest, and ALLOW_GUESTS is off" if guests and found.guest else ""


def _ids(people: frozenset[str]) -> str:
    return "everyone" if EVERYONE in people else ", ".join(sorted(people))


async def _numbers(settings: Settings) -> str:
    if settings.numbers_file is None:
        return "not set: people request numbers by id"
    found = await NumbersFile(settings.numbers_file).current()
    if found.errors:
        more = f"; and {len(found.errors) - MAX_ERRORS} more" if len(found.errors) > MAX_ERRORS else ""
        raise BotError(f"{settings.numbers_file}: " + "; ".join(found.errors[:MAX_ERRORS]) + more + ".")
    protected = sum(number.protected for number in found.by_id.values())
    warned = sum(number.warning is not None for number in found.by_id.values())
    more = f", {protected} protected, {warned} with a warning" if protected or warned else ""
    return f"{len(found.by_id)} numbers in {settings.numbers_file}{more}"


async def _line(name: str, prove: Callable[[], Awaitable[str]]) -> bool:
    try:
        said = await prove()
    except BotError as error:
        print(f"FAIL  {name}: {error}")
    except httpx.HTTPError as error:
        print(f"FAIL  {name}: {_unreachable(error)}")
    else:
        print(f"ok    {name}: {said}")
        return True
    return False
