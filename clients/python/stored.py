"""What the server of a trial has, and where it is."""

import json
import os

URL = os.environ["CONVODB_URL"]
TOKEN = os.environ["CONVODB_TOKEN"]


def stored() -> list[dict]:
    """Returns the stored conversations as lists contain them, newest first."""
    with open(os.environ["CONVODB_STORED"], encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    for item in items:
        del item["messages"]
    return items[::-1]


def check(actual, expected, what: str) -> None:
    """Fails with both values, or with the first items that differ."""
    if actual == expected:
        return
    if isinstance(actual, list) and len(actual) == len(expected):
        actual, expected = next(pair for pair in zip(actual, expected) if pair[0] != pair[1])
    raise SystemExit(f"{what}: expected {expected!r:.1000}, got {actual!r:.1000}")
