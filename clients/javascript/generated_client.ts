// The client that openapi-generator makes for TypeScript: `-g typescript-fetch`.

import assert from "node:assert/strict";

import {
  Configuration, ConversationsApi, ConversationToJSON, ConversationType, ResponseError, Role,
  UserAndAssistantsApi,
} from "./generated/fetch/index.js";
import { stored, token, url } from "./stored.js";

const configuration = new Configuration({ basePath: url, accessToken: token });
const api = new ConversationsApi(configuration);
const expected = stored();

// Reads the whole list by its cursors, forward to the end and back to the beginning.
let page = await api.listConversations({ perPage: 40 });
const forward = [...page.data];
while (page.nextCursor !== null) {
  page = await api.listConversations({ cursor: page.nextCursor });
  forward.push(...page.data);
}
const back = [...page.data];
while (page.prevCursor !== null) {
  page = await api.listConversations({ cursor: page.prevCursor });
  back.unshift(...page.data);
}
// Fields that are absent are undefined in a generated model.
const plain = (items: unknown[]) => JSON.parse(JSON.stringify(items));
assert.deepEqual(plain(forward.map(ConversationToJSON)), expected);
assert.deepEqual(plain(back.map(ConversationToJSON)), expected);
const ofPhone = { type: [ConversationType.Whatsapp], customerPhone: "+14155550049" };
assert.equal((await api.listConversations(ofPhone)).data[0]?.messageCount, 4);
const lines = await api.exportConversations({ messages: "1" });
const report = await api.importConversations({ body: lines });
assert.deepEqual([report.alreadyPresent, report.rejected], [expected.length, 0]);

const assistants = await new UserAndAssistantsApi(configuration).listAssistants();
const assistant = assistants.data[0];
assert(assistant);
const { conversationId: uuid } = await api.createConversation({
  idempotencyKey: "generated-typescript",
  newConversation: {
    assistantId: assistant.id,
    type: ConversationType.Whatsapp,
    customer: { name: "Jo", phone: "+14155559876" },
    variables: { plan: "pro" },
  },
});
await api.appendMessage({ uuid, newMessage: { message: "Where is my order?" } });
const appended = await api.appendMessage({
  uuid,
  newMessage: { role: Role.Assistant, content: "It is on its way.", cost: 0.0008 },
});
assert.equal(appended.messageCount, 2);
const changed = await api.changeConversation({
  uuid,
  conversationChange: { customer: { name: "Joanna" } },
});
assert.deepEqual(changed.customer, { name: "Joanna", phone: "+14155559876" });
const read = await api.readConversation({ uuid });
const texts = read.history.map((message) => message.content);
assert.deepEqual(texts, ["Where is my order?", "It is on its way."]);
assert.equal(read.totalCost, 0.0008);
assert.deepEqual(read.variables, { plan: "pro" });

const statistics = await api.readStatistics({ from: new Date("2025-01-01"), groupBy: ["month", "type"] });
const sum = expected.reduce((sum, item) => sum + item.total_cost, read.totalCost);
assert.equal(statistics.total.totalCost.toFixed(9), sum.toFixed(9));

await api.deleteConversation({ uuid });
await assert.rejects(api.readConversation({ uuid }), (error: unknown) => {
  assert(error instanceof ResponseError);
  return error.response.status === 404;
});
