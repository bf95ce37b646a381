// Opens page.html in a headless Chromium: from an origin that the server allows, from another one,
// and against a server that allows none.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { CONVODB_URL, CONVODB_TOKEN, CONVODB_URL_WITHOUT_CORS, PAGE_PORT } = process.env;
const CHROMIUM = process.env.CHROMIUM ?? "chromium";
const SECONDS = 60;

let received;
const page = await readFile(new URL("page.html", import.meta.url));
const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    let body = "";
    for await (const chunk of request) body += chunk;
    received(JSON.parse(body));
    response.end();
  } else {
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(page);
  }
});
await new Promise((resolve) => server.listen(PAGE_PORT, "127.0.0.1", resolve));

// Returns what the page reports when it is opened from an origin and calls a server.
async function report(origin, url) {
  const profile = await mkdtemp(join(tmpdir(), "chromium-"));
  const query = new URLSearchParams({ server: url, token: CONVODB_TOKEN });
  const reported = new Promise((resolve) => { received = resolve; });
  const browser = spawn(CHROMIUM, [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", `--user-data-dir=${profile}`, `${origin}/?${query}`,
  ], { stdio: "ignore" });
  const ended = new Promise((resolve) => browser.on("exit", resolve));
  const late = new Promise((_, reject) => {
    setTimeout(reject, SECONDS * 1000, new Error(`no report within ${SECONDS} s`)).unref();
    browser.on("error", reject);
  });
  try {
    return await Promise.race([reported, late]);
  } finally {
    browser.kill();
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 }).catch(() => {});
  }
}

const refused = { error: "TypeError: Failed to fetch" };
const allowed = `http://127.0.0.1:${PAGE_PORT}`;
const other = `http://localhost:${PAGE_PORT}`;
assert.deepEqual(await report(allowed, CONVODB_URL), { listed: 2, link: true, created: true });
assert.deepEqual(await report(other, CONVODB_URL), refused);
assert.deepEqual(await report(allowed, CONVODB_URL_WITHOUT_CORS), refused);
server.close();
