// @ivotoby/openapi-mcp-server: a bridge that makes the API tools of a language model.

import assert from "node:assert/strict";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

import { stored, token, url } from "./stored.js";

const client = new Client({ name: "trial", version: "1.0.0" });
await client.connect(new StdioClientTransport({
  command: "node_modules/.bin/openapi-mcp-server",
  args: [
    "--api-base-url", url,
    "--openapi-spec", `${url}/openapi.json`,
    "--headers", `Authorization:Bearer ${token}`,
  ],
  stderr: "ignore",
}));

// Calls a tool. The bridge makes its name of the operation's, with abbreviations.
async function call(name: string, input: Record<string, unknown>): Promise<any> {
  const { content, isError } = await client.callTool({ name, arguments: input });
  const [part] = content as { text: string }[];
  assert(part);
  if (isError) throw new Error(part.text);
  return JSON.parse(part.text);
}

// Reads the whole list by its cursors, forward to the end and back to the beginning.
const list = (input: Record<string, unknown>) => call("lst-conversations", input);
const expected = stored();
let page = await list({ per_page: 40 });
const forward: unknown[] = [...page.data];
while (page.next_cursor !== null) {
  page = await list({ cursor: page.next_cursor });
  forward.push(...page.data);
}
const back: unknown[] = [...page.data];
while (page.prev_cursor !== null) {
  page = await list({ cursor: page.prev_cursor });
  back.unshift(...page.data);
}
assert.deepEqual(forward, expected);
assert.deepEqual(back, expected);

const created = await call("crt-conversation", { assistant_id: 1, type: "api", variables: { plan: "pro" } });
const uuid = created.conversation_id;
const appended = await call("append-message", { uuid, message: "Where is my order?" });
assert.equal(appended.message_count, 1);
const changed = await call("change-conversation", { uuid, ai_enabled: false });
assert.equal(changed.ai_enabled, false);
assert.deepEqual(changed.variables, { plan: "pro" });
const read = await call("read-conversation", { uuid });
assert.equal(read.history[0].content, "Where is my order?");
const statistics = await call("read-statistics", { group_by: ["month", "type"] });
assert.equal(statistics.total.conversations, expected.length + 1);
await call("del-conversation", { uuid });
await assert.rejects(call("read-conversation", { uuid }), /Conversation not found/);

await client.close();
