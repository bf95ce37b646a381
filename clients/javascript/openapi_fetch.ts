// openapi-fetch: a client without generated code, typed by what openapi-typescript makes.

import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./generated/openapi.js";
import { stored, token, url } from "./stored.js";

type Conversation = components["schemas"]["Conversation"];

const api = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${token}` },
});

// Returns the body of a success, and throws the one of an error.
async function body<T>(response: Promise<{ data?: T; error?: unknown }>): Promise<T> {
  const { data, error } = await response;
  if (data === undefined) throw error;
  return data;
}

type Query = NonNullable<paths["/api/user/conversations"]["get"]["parameters"]["query"]>;
const list = (query: Query) => body(api.GET("/api/user/conversations", { params: { query } }));

// Reads the whole list by its cursors, forward to the end and back to the beginning.
const expected = stored();
let page = await list({ per_page: 40 });
const forward: Conversation[] = [...page.data];
while (page.next_cursor !== null) {
  page = await list({ cursor: page.next_cursor });
  forward.push(...page.data);
}
const back: Conversation[] = [...page.data];
while (page.prev_cursor !== null) {
  page = await list({ cursor: page.prev_cursor });
  back.unshift(...page.data);
}
assert.deepEqual(forward, expected);
assert.deepEqual(back, expected);
const ofPhone = await list({ type: ["whatsapp"], customer_phone: "+14155550049" });
assert.equal(ofPhone.data[0]?.message_count, 4);

const created = await body(api.POST("/api/conversations", {
  body: { assistant_id: 1, type: "api", external_identifier: "crm/1 & co", variables: { plan: "pro" } },
  params: { header: { "Idempotency-Key": "openapi-fetch" } },
}));
const path = { uuid: created.conversation_id };
const one = "/api/conversations/{uuid}";
const appended = await body(api.POST("/api/conversations/{uuid}/messages", {
  params: { path },
  body: { role: "user", content: "Where is my order?", cost: 0.0008 },
}));
assert.equal(appended.message_count, 1);
const changed = await body(api.PATCH(one, { params: { path }, body: { variables: null } }));
assert.equal(changed.variables, null);
const read = await body(api.GET(one, { params: { path } }));
assert.deepEqual(read.history.map((message) => message.content), ["Where is my order?"]);
assert.equal(read.external_identifier, "crm/1 & co");

const statistics = await body(api.GET("/api/user/conversations/stats", {
  params: { query: { group_by: ["month", "type"] } },
}));
const sum = expected.reduce((sum, item) => sum + item.total_cost, read.total_cost);
assert.equal(statistics.total.total_cost.toFixed(9), sum.toFixed(9));

await body(api.DELETE(one, { params: { path } }));
const { error, response } = await api.GET(one, { params: { path } });
assert.equal(response.status, 404);
assert.equal(error?.message, "Conversation not found");
