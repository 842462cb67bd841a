"""The pure part of policy: which rule a call falls under, and what its chain of factors comes to.

Workers decide by it, and `dialgate policy explain` shows what they would decide: the very same
functions.  Nothing here asks anybody, reads a clock or knows the configuration's file.
"""

from __future__ import annotations

from dialgate.policy.chain import Chain, Outcome, next_step
from dialgate.policy.hours import ALL_DAY, WEEKDAYS, Hours, Span, parse_span
from dialgate.policy.keys import Answer, Key, Patterns, Roles, Situation
from dialgate.policy.menu import chosen_service, menu_text, offered_services
from dialgate.policy.rules import Rule, choose, choose_door

__all__ = [
    "ALL_DAY",
    "WEEKDAYS",
    "Answer",
    "Chain",
    "Hours",
    "Key",
    "Outcome",
    "Patterns",
    "Roles",
    "Rule",
    "Situation",
    "Span",
    "choose",
    "choose_door",
    "chosen_service",
    "menu_text",
    "next_step",
    "offered_services",
    "parse_span",
]
