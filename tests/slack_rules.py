"""The rules of Slack that the fake holds the bot to, with their sources: a part of docs/reliability.md."""

from __future__ import annotations

from dataclasses import dataclass

DOCS = "https://docs.slack.dev"


@dataclass(frozen=True)
class Rule:
    """A rule, where it is documented or reported, and the tests that show the bot keeping it."""

    rule: str
    source: str
    tests: tuple[str, ...]


def rule(text: str, source: str, *tests: str) -> Rule:
    """Return a rule."""
    return Rule(text, source, tests)


RULES = [
    rule(
        "An ack of 20 KiB or more closes the socket",
        "https://github.com/slack-go/slack/issues/1196",
        "tests/integration/test_socket_mode.py::test_picker_fits_in_a_frame",
        "tests/integration/test_socket_mode.py::test_history_that_does_not_fit_in_a_frame",
        "tests/integration/test_socket_mode.py::test_fake_closes_the_socket_after_a_large_frame",
    ),
    rule(
        "Without `verbatim` Slack parses text again and alerts people",
        f"{DOCS}/messaging/formatting-message-text",
        "tests/integration/test_mentions.py::test_only_the_people_named_are_alerted",
        "tests/integration/test_mentions.py::test_fake_parses_as_slack_does",
    ),
    rule(
        "A response_url can refuse with status 200",
        f"{DOCS}/interactivity/handling-user-interaction",
        "tests/faults/test_delivery.py::test_response_url_says_no_with_200",
        "tests/faults/test_delivery.py::test_response_url_says_later_with_200",
    ),
    rule(
        "A response_url ends after 5 uses or 30 minutes",
        f"{DOCS}/interactivity/handling-user-interaction",
        "tests/faults/test_delivery.py::test_response_url_over",
        "tests/faults/test_delivery.py::test_response_url_used_up",
    ),
    rule(
        "In an organization a payload can name the organization or another workspace",
        "https://github.com/slackapi/bolt-js/issues/1875",
        "tests/integration/test_enterprise.py::test_member_of_another_workspace_too",
        "tests/integration/test_enterprise.py::test_stranger_of_another_enterprise",
        "tests/integration/test_enterprise.py::test_users_info_that_names_no_team",
    ),
    rule(
        "Payloads have many shapes, and what cannot be read is acked too",
        f"{DOCS}/reference/interaction-payloads",
        "tests/integration/test_payloads.py::test_documented_payload",
        "tests/integration/test_payloads.py::test_unreadable_payload_is_acknowledged",
    ),
    rule(
        "Slack does not repeat a command or a click that the closing bot did not take",
        f"{DOCS}/apis/events-api/using-socket-mode",
        "tests/integration/test_socket_mode.py::test_socket_closes_before_the_drain",
        "tests/integration/test_socket_mode.py::test_click_under_way_is_acked_before_the_socket_closes",
    ),
    rule(
        "Slack announces that it closes a socket, and uses the old and the new one until then",
        f"{DOCS}/apis/events-api/using-socket-mode",
        "tests/integration/test_socket_mode.py::test_nothing_is_lost_during_a_refresh",
        "tests/integration/test_socket_mode.py::test_click_acked_after_the_old_socket_closed",
        "tests/integration/test_socket_mode.py::test_refresh_that_fails",
    ),
    rule(
        "A hello can count a connection that is just closing (no public source found)",
        f"{DOCS}/apis/events-api/using-socket-mode",
        "tests/integration/test_socket_mode.py::test_two_hellos_in_a_row_count_another_replica",
    ),
    rule(
        "A refused command shows `dispatch_failed`, no answer within 3 seconds `operation_timeout`",
        "https://github.com/slackapi/bolt-python/issues/951",
        "tests/e2e/test_mistakes.py::test_signing_secret_of_another_app",
        "tests/e2e/test_mistakes.py::test_bot_that_does_not_answer",
    ),
    rule(
        "`ssl_check` comes unsigned and expects 200",
        "https://github.com/slackapi/bolt-js/issues/614",
        "tests/integration/test_web.py::test_ssl_check",
        "tests/integration/test_web.py::test_unsigned_request_that_looks_like_an_ssl_check",
    ),
    rule(
        "Tokens with rotation expire after 12 hours",
        f"{DOCS}/authentication/using-token-rotation",
        "tests/unit/test_settings.py::test_invalid_value",
    ),
    rule(
        "User groups need a paid plan",
        f"{DOCS}/reference/methods/usergroups.users.list",
        "tests/integration/test_groups.py::test_check_explains_the_scope",
        "tests/e2e/test_mistakes.py::test_user_groups_on_a_free_plan",
    ),
    rule(
        "Only users.info tells whether a person is a guest",
        f"{DOCS}/reference/objects/user-object",
        "tests/integration/test_guests.py::test_guest_is_refused",
        "tests/integration/test_guests.py::test_no_answer_about_a_person",
    ),
    rule(
        "Slack's markup has no escape for `*`, `_`, `~` and the backtick",
        "https://github.com/slackhq/slack-api-docs/issues/34",
        "tests/unit/test_markup.py::test_literal",
        "tests/integration/test_home.py::test_label_stays_literal",
    ),
    rule(
        "The text of a section has at most 3,000 characters",
        f"{DOCS}/reference/block-kit/blocks/section-block",
        "tests/unit/test_markup.py::test_cut",
        "tests/integration/test_home.py::test_long_outcome_does_not_block_the_home",
    ),
    rule(
        "The text of an update has at most 4,000 characters",
        f"{DOCS}/reference/methods/chat.update",
        "tests/unit/test_views.py::test_longest_outcome_fits",
        "tests/e2e/test_demo.py::test_fake_holds_the_bot_to_its_rules",
    ),
    rule(
        "A channel takes about one message a second, and status 429 says how long to wait",
        f"{DOCS}/apis/web-api/rate-limits",
        "tests/faults/test_rate_limits.py::test_many_outcomes_in_one_channel",
        "tests/faults/test_rate_limits.py::test_card_that_slack_wants_later",
        "tests/faults/test_rate_limits.py::test_many_cards_at_once",
        "tests/faults/test_rate_limits.py::test_limits_of_the_fake",
    ),
    rule(
        "views.publish, users.info, chat.update and usergroups.users.list are limited for the whole workspace",
        f"{DOCS}/apis/web-api/rate-limits",
        "tests/faults/test_rate_limits.py::test_more_viewers_than_slack_allows_at_once",
        "tests/faults/test_rate_limits.py::test_updates_that_slack_limits_hold_no_message_up",
        "tests/faults/test_rate_limits.py::test_many_user_groups",
        "tests/faults/test_rate_limits.py::test_home_that_slack_wants_later",
        "tests/faults/test_rate_limits.py::test_home_while_slack_does_not_say_who_it_is",
        "tests/faults/test_rate_limits.py::test_person_is_remembered_while_slack_does_not_answer",
    ),
    rule(
        "`update_failed` and `external_channel_migrating` pass",
        f"{DOCS}/reference/methods/chat.update",
        "tests/faults/test_rate_limits.py::test_card_update_that_fails_for_a_while",
    ),
    rule(
        "A revoked token or a missing scope lasts until an administrator acts",
        f"{DOCS}/reference/methods/chat.postMessage",
        "tests/faults/test_rate_limits.py::test_outcome_that_needs_an_administrator",
    ),
    rule(
        "Slack's own client works: forms with JSON in them, a modal without a close button, a message by response_url",
        "https://github.com/slackapi/bolt-js",
        "tests/e2e/test_third_party.py::test_bolt_for_javascript_works_with_the_fake",
    ),
    rule(
        "Slack's models of blocks know every block of the bot",
        "https://github.com/slackapi/python-slack-sdk",
        "tests/unit/test_messages.py::test_slack_takes_every_message",
    ),
    rule(
        "`slack run` starts the bot by .slack/hooks.json",
        f"{DOCS}/tools/slack-cli/reference/hooks",
        "tests/e2e/test_slack_cli.py::test_manifest_hook",
        "tests/e2e/test_slack_cli.py::test_start_hook",
    ),
    rule(
        "A scheduled message can be deleted again, and scheduling one takes the same permission as a post",
        f"{DOCS}/reference/methods/chat.scheduleMessage",
        "tests/integration/test_audit.py::test_check_proves_it",
        "tests/integration/test_audit.py::test_check_of_a_channel_that_takes_none",
        "tests/integration/test_audit.py::test_fake_deletes_no_message_that_is_about_to_come",
    ),
    rule(
        "blocks.validate names each fault of a message with a JSON pointer",
        f"{DOCS}/reference/methods/blocks.validate",
        "tests/integration/test_rehearse.py::test_every_message_is_accepted",
        "tests/integration/test_rehearse.py::test_refused_message",
    ),
]


def section(passed: set[str]) -> list[str]:
    """Return the lines of the part, with the rules whose tests have all passed."""
    lines = [
        "",
        "## Slack, as documented",
        "",
        "The fake Slack of the tests enforces these rules, and the tests show that the bot keeps them.",
        "It counts calls only in tests of rate limits; all other rules hold for every test.",
        "A row disappears if one of its tests fails.",
        "",
        "| rule | source | tests |",
        "| --- | --- | --- |",
    ]
    for found in RULES:
        if passed.issuperset(found.tests):
            names = ", ".join(f"`{test.split('::')[1]}`" for test in found.tests)
            lines.append(f"| {found.rule} | {found.source} | {names} |")
    return lines
