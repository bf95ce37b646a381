"""Prints the conversations that the server of a trial has: JSON lines, oldest first.

A line is an item of the list with its messages. The first costs are zero, and some values are null
or absent, because loaders infer the type of a column from the first rows.
"""

import json
import uuid
from datetime import datetime, timedelta, timezone

COUNT = 250
TYPES = ["widget", "whatsapp", "api", "test"]
ASSISTANTS = ["Support", "Front Desk", "Ventas ñ"]


def conversation(number: int) -> dict:
    created = datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(hours=31 * number)
    messages = [message(number, at, created) for at in range(number % 5)]
    assistant = number % len(ASSISTANTS)
    kind = TYPES[number % len(TYPES)]
    item = {
        "id": str(uuid.UUID(int=0x01940000_0000_4000_8000_000000000000 + number)),
        "assistant_id": str(uuid.UUID(int=0xA1B2C3D4_5678_40AB_8DEF_000000000000 + assistant)),
        "assistant_name": ASSISTANTS[assistant],
        "type": kind,
        "variables": {"plan": "pro", "limits": {"seats": 5, "days": [1, 7]}} if number % 5 == 0 else None,
    }
    if kind == "api" and number % 3:
        item["external_identifier"] = f"crm/{number} & co"
    item |= {
        "message_count": len(messages),
        "total_cost": round(sum((one["cost"] for one in messages), 0.0), 9),
        "ai_enabled": number % 7 != 0,
        "created_at": text(created),
        "updated_at": text(created + timedelta(minutes=number)),
    }
    if kind == "whatsapp":
        item["whatsapp_sender"] = {"name": "Acme", "phone": "+14155551234"}
        name = None if number % 3 else f"Zoë {number}"
        item["customer"] = {"name": name, "phone": f"+1415555{number:04}"}
    return item | {"messages": messages}


def message(number: int, at: int, created: datetime) -> dict:
    role = ["user", "assistant"][at % 2]
    cost = 0.0 if number < 40 or role == "user" else 0.0031 * at + number / 1_000_000
    return {
        "role": role,
        "content": f"Message {at} of {number}: ¿qué tal?",
        "cost": round(cost, 9),
        "created_at": text(created + timedelta(minutes=at)),
    }


def text(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    for number in range(COUNT):
        print(json.dumps(conversation(number), ensure_ascii=False))
