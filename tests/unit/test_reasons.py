"""The rule for reasons: patterns match whole texts in bounded time, and each problem is said in plain words."""

from __future__ import annotations

import time

import pytest

from bot.domain.reasons import MAX_REASON, Pattern, ReasonRule


@pytest.mark.parametrize(
    ("expression", "text", "matches"),
    [
        ("OPS-[0-9]+ .+", "OPS-7 campaign ended", True),
        ("OPS-[0-9]+ .+", "see OPS-7 campaign ended", False),
        ("OPS-[0-9]+", "OPS-7\n", False),
        ("a|b", "ab", False),  # the alternatives are as long as the whole text
        ("(?i)ops-[0-9]+", "OPS-7", True),
        ("\\w+", "Ä", True),
        (".*", "line\u2028separator", True),
        ("^OPS$", "OPS", True),
    ],
)
def test_whole_reason_must_match(expression: str, text: str, matches: bool) -> None:
    """A pattern is compared with the reason from its first to its last character."""
    assert Pattern(expression).matches(text) is matches


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(.*a){20}b", "(\\w+\\s?)+!"])
def test_time_is_bounded(expression: str) -> None:
    """Expressions that make other engines try for ages are decided in a moment, at the longest reason."""
    pattern = Pattern(expression)
    began = time.process_time()
    assert not pattern.matches("a" * MAX_REASON)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        ("(", "unclosed group"),
        ("a)|(b", "unopened group"),
        ("(?=x)y", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("x{100000000}", "Compiled regex exceeds size limit of 10485760 bytes"),
    ],
)
def test_invalid_pattern(expression: str, cause: str) -> None:
    """An invalid expression is refused with its cause."""
    with pytest.raises(ValueError, match="^" + cause.replace("(", "\\(")):
        Pattern(expression)


@pytest.mark.parametrize(
    ("rule", "reason", "problem"),
    [
        (ReasonRule(), None, None),
        (ReasonRule(), "x", None),
        (ReasonRule(required=True), None, "Please give a reason."),
        (ReasonRule(required=True), "", "Please give a reason."),
        (ReasonRule(required=True), "x", None),
        (ReasonRule(pattern=Pattern("OPS-.+")), None, None),
        (ReasonRule(pattern=Pattern("OPS-.+")), "x", "The reason does not match the required format."),
        (ReasonRule(), "x" * (MAX_REASON + 1), "The reason is too long: it has 201 characters"),
    ],
)
def test_problem(rule: ReasonRule, reason: str | None, problem: str | None) -> None:
    """Without a rule any short reason, or none, is fine; a pattern alone requires none."""
    found = rule.problem(reason)
    assert found is None if problem is None else (found or "").startswith(problem)
