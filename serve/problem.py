"""What a client got wrong, and pydantic's faults as one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError


class Refused(ValueError):
    """A request that is not answered as asked; the message is one sentence.

    Attributes:
        status: of HTTP.
        field: what is wrong, such as `candidates[3].id`; empty for the whole request.
        retry_after: seconds after which asking again makes sense, or 0.
        public: the message without what the client sent, which may be a user's feature.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        status: int = 422,
        retry_after: int = 0,
        public: str | None = None,
    ) -> None:
        """Say what was given, what is allowed and what to do."""
        super().__init__(message)
        self.status, self.field, self.retry_after = status, field, retry_after
        self.public = message if public is None else public

    def to_json(self) -> dict[str, str]:
        """The body of the answer."""
        return {"error": str(self), "field": self.field}


def refusal(error: ValidationError, known: Mapping[str, Sequence[str]]) -> Refused:
    """The first fault of a request.

    Args:
        error: of validating it.
        known: names that may stand in an object, by its place without numbers.
    """
    fault = error.errors(include_url=False, include_context=True)[0]
    field = place(fault["loc"])
    if fault["type"] == "json_invalid":
        reason = fault["ctx"]["error"]
        return Refused(f"the body is not valid JSON: {reason}; send one JSON object")
    if fault["type"] == "missing":
        return Refused(f"{field} is missing; add it", field=field)
    if fault["type"] == "extra_forbidden":
        names = known.get(place([part for part in fault["loc"][:-1] if isinstance(part, str)]), ())
        allowed = f"; allowed are: {', '.join(names)}" if names else "; leave it out"
        return Refused(f"{field} is not known{allowed}", field=field)
    what = f"{field} is" if field else "the body is"
    rule = _rule(fault)
    return Refused(
        f"{what} {shown(fault['input'])}; {rule}", field=field, public=f"{what} wrong; {rule}"
    )


def _rule(fault: Mapping[str, Any]) -> str:
    context = fault.get("ctx", {})
    if fault["type"] in ("too_long", "too_short"):
        key, word = (
            ("max_length", "at most")
            if fault["type"] == "too_long"
            else (
                "min_length",
                "at least",
            )
        )
        return f"it must have {word} {context[key]} entries"
    if fault["type"] == "typed_dict_type":
        return "it must be an object"
    message = str(fault["msg"])
    return f"{message[0].lower()}{message[1:]}".replace("input should", "it must", 1)


def place(location: Sequence[Any]) -> str:
    """A location as clients write it: `candidates[3].id`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value given by a client, short enough for a sentence."""
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"a text of {len(value)} characters"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    text = str(value)
    return text if len(text) <= 60 else f"a number of {len(text)} digits"
