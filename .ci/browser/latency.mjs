// Time from a write to its event at a subscriber, by server-sent events: of convodb, and of PocketBase by turns if
// its URL and the token of a superuser are given. Prints percentiles in milliseconds, of writes after a pause and of
// writes back to back; asserts that each change arrives once, in order. Arguments: URL and token of convodb, [URL and
// token of PocketBase], number of writes.
import assert from "node:assert/strict";

const args = process.argv.slice(2);
const count = Number(args.pop() ?? 300);
const [url, token, otherUrl, otherToken] = args;

const send = async (target, method, secret, body) => {
  const response = await fetch(target, {
    method,
    headers: { "Content-Type": "application/json", Accept: "application/json", ...(secret && { Authorization: secret }) },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${target}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
};

/** The events of a stream, each with the time of its arrival; `next` waits for one. */
async function subscribe(target, headers) {
  const response = await fetch(target, { headers: { Accept: "text/event-stream", ...headers } });
  assert.equal(response.status, 200, target);
  const waiting = [];
  const arrived = [];
  const deliver = (event) => (waiting.length ? waiting.shift()(event) : arrived.push(event));
  (async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      const at = performance.now();
      text += decoder.decode(chunk, { stream: true });
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const fields = text.slice(0, end).split("\n").map((line) => line.split(/:\s?(.*)/s));
        const data = fields.find(([name]) => name === "data");
        if (data) deliver({ at, data: JSON.parse(data[1]) });
      }
    }
  })().catch(() => {});
  return () => new Promise((resolve) => (arrived.length ? resolve(arrived.shift()) : waiting.push(resolve)));
}

async function convodb() {
  const bearer = `Bearer ${token}`;
  const next = await subscribe(`${url}/api/user/conversations/changes?cursor=now`, { Authorization: bearer });
  await next();
  return {
    name: "convodb",
    write: async () => (await send(`${url}/api/conversations`, "POST", bearer, { assistant_id: 1 })).conversation_id,
    event: async () => {
      const { at, data } = await next();
      assert.equal(data.data.length, 1);
      return { at, id: data.data[0].id };
    },
  };
}

async function pocketbase() {
  const rules = { listRule: "", viewRule: "", createRule: "", updateRule: "", deleteRule: "" };
  const fields = [{ name: "title", type: "text" }];
  await send(`${otherUrl}/api/collections`, "POST", otherToken, { name: "chats", type: "base", fields, ...rules });
  const next = await subscribe(`${otherUrl}/api/realtime`, {});
  const { data } = await next();
  await send(`${otherUrl}/api/realtime`, "POST", undefined, { clientId: data.clientId, subscriptions: ["chats"] });
  return {
    name: "PocketBase",
    write: async () => (await send(`${otherUrl}/api/collections/chats/records`, "POST", undefined, { title: "x" })).id,
    event: async () => {
      const { at, data } = await next();
      return { at, id: data.record.id };
    },
  };
}

const servers = [await convodb(), ...(otherUrl ? [await pocketbase()] : [])];
const percentiles = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return [0.5, 0.99].map((share) => sorted[Math.floor(share * (sorted.length - 1))].toFixed(2)).join(" / ");
};

/** Writes by turns, each after a pause or at once after the event of the one before. */
async function measure(name, pause) {
  const times = servers.map(() => ({ answered: [], event: [], after: [] }));
  for (let turn = 0; turn < count + 20; turn++) {
    for (const [at, server] of servers.entries()) {
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
      const began = performance.now();
      const event = server.event();
      const written = await server.write();
      const answered = performance.now();
      const { at: arrived, id } = await event;
      assert.equal(id, written);
      if (turn < 20) continue;
      times[at].answered.push(answered - began);
      times[at].event.push(arrived - began);
      times[at].after.push(Math.max(0, arrived - answered));
    }
  }
  for (const [at, server] of servers.entries()) {
    const { answered, event, after } = times[at];
    console.log(`${server.name}, ${name}, ms p50 / p99 of ${count}: write ${percentiles(answered)}, ` +
      `write to event ${percentiles(event)}, response to event ${percentiles(after)}`);
  }
}

await measure("after a pause", 25);
await measure("back to back", 0);
process.exit(0);
