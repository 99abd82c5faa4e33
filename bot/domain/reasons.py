"""The rule for reasons: whether a request needs one, and which format it must have."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from pydantic_core import SchemaError, SchemaValidator, ValidationError
from pydantic_core.core_schema import str_schema

MAX_REASON = 200
EXAMPLE = "campaign ended"
ZERO_WIDTH_JOINER = "\u200d"  # it joins the parts of an emoji


def clean(text: str) -> str:
    """Return a reason as it is stored: in one line, and without signs that show nothing or turn the direction."""
    kept = "".join(" " if _is_hidden(sign) else sign for sign in text)
    return " ".join(kept.split())


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf") and sign != ZERO_WIDTH_JOINER


class Pattern:
    """A regular expression that a whole text must match. Raise ValueError with the cause if it is invalid.

    Rust's regex matches it (https://docs.rs/regex/latest/regex/#syntax), in time proportional to the length of the
    text, whatever the expression is. So it has no look-around and no backreferences.
    """

    def __init__(self, expression: str) -> None:
        try:
            SchemaValidator(str_schema(pattern=expression))  # by itself: "a)|(b" is valid only in the group below
            self._whole = SchemaValidator(str_schema(pattern=rf"\A(?:{expression})\z"))
        except SchemaError as error:
            cause = str(error).strip().splitlines()[-1]  # above it is the expression
            raise ValueError(cause.removeprefix("error:").removeprefix("  SchemaError:").strip(" .")) from None

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches."""
        try:
            self._whole.validate_python(text)
        except ValidationError:
            return False
        return True


@dataclass(frozen=True)
class ReasonRule:
    """Whether a reason is required, which pattern each reason must match, and an example of one that is accepted."""

    required: bool = False
    pattern: Pattern | None = None
    example: str = EXAMPLE

    @property
    def applies(self) -> bool:
        """Whether there is a rule at all."""
        return self.required or self.pattern is not None

    def problem(self, reason: str | None) -> str | None:
        """Return why a request cannot have this reason, in plain text; None if it can."""
        if not reason:
            return "Please give a reason." if self.required else None
        if len(reason) > MAX_REASON:
            return (
                f"The reason is too long: it has {len(reason)} characters, and the card has room for {MAX_REASON}. "
                "Please give a shorter one."
            )
        if self.pattern is not None and not self.pattern.matches(reason):
            return "The reason does not match the required format."
        return None
