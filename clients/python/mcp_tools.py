"""FastMCP: the API as tools of a language model, with `from_openapi` and no configuration."""

import asyncio

import fastmcp
import httpx2

from stored import TOKEN, URL, check, stored


async def walk(client: fastmcp.Client) -> tuple[list[dict], list[dict]]:
    """Reads the whole list by its cursors, forward to the end and back to the beginning."""

    async def read(**arguments) -> dict:
        return (await client.call_tool("listConversations", arguments)).structured_content

    page = await read(per_page=40)
    forward = page["data"]
    while page["next_cursor"] is not None:
        page = await read(cursor=page["next_cursor"])
        forward = forward + page["data"]
    back = page["data"]
    while page["prev_cursor"] is not None:
        page = await read(cursor=page["prev_cursor"])
        back = page["data"] + back
    return forward, back


async def main() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=URL, headers=headers) as http:
        description = (await http.get("/openapi.json")).json()
        server = fastmcp.FastMCP.from_openapi(openapi_spec=description, client=http)
        async with fastmcp.Client(server) as client:
            await trial(client)


async def trial(client: fastmcp.Client) -> None:
    async def call(tool: str, **arguments) -> dict:
        return (await client.call_tool(tool, arguments)).structured_content

    expected = stored()
    forward, back = await walk(client)
    check(forward, expected, "the list forward")
    check(back, expected, "the list back")

    created = await call("createConversation", assistant_id=1, type="widget", variables={"a": 1})
    uuid = created["conversation_id"]
    appended = await call("appendMessage", uuid=uuid, message="Where is my order?")
    check(appended["message_count"], 1, "the number of messages")
    changed = await call("changeConversation", uuid=uuid, ai_enabled=False)
    check((changed["ai_enabled"], changed["variables"]), (False, {"a": 1}), "the change")
    read = await call("readConversation", uuid=uuid)
    check([one["content"] for one in read["history"]], ["Where is my order?"], "the history")
    statistics = await call("readStatistics", group_by=["month", "type"])
    check(statistics["total"]["conversations"], len(expected) + 1, "the statistics")
    await call("deleteConversation", uuid=uuid)
    try:
        await call("readConversation", uuid=uuid)
    except fastmcp.exceptions.ToolError as error:
        check("Conversation not found" in str(error), True, f"the error {error}")
    else:
        raise SystemExit("a deleted conversation can be read")


if __name__ == "__main__":
    asyncio.run(main())
