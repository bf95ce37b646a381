// Drives the console in Chromium: every screen in both schemes and three widths, with and without
// scripts. With the checks "screens" that is all but walks; with "all" keys, live updates, tokens and sessions follow.
// Arguments: base URL, process id of the server, token, another user's token, the command that revokes the
// token, the checks, and optionally a folder for screenshots.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";

const [base, server, token, otherToken, revoke, checks, shots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const api = async (path, options = {}) => {
  const response = await fetch(base + path, {
    ...options,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", Accept: "application/json" },
  });
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response.json();
};
const problems = [];

/** A context that records what no page may do: errors, policy violations, other hosts. */
async function context(options) {
  const made = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  made.on("request", (request) => {
    if (!request.url().startsWith(base)) problems.push(`request to ${request.url()}`);
  });
  made.on("console", (message) => {
    const isExpected = /status of (401|403|404|422)/.test(message.text());
    if (message.type() === "error" && !isExpected) problems.push(`console: ${message.text()}`);
  });
  made.on("weberror", (error) => problems.push(`error: ${error.error()}`));
  return made;
}

async function signIn(page, secret = token) {
  await page.goto(`${base}/console`);
  await page.getByLabel("Access token").fill(secret);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Conversations" }).waitFor();
}

const ids = (page) => page.locator("tr[data-id]").evaluateAll((rows) => rows.map((row) => row.dataset.id));
const listed = async (query) => api(`/api/user/conversations?${query}`);

const whatsapp = (await listed("type=whatsapp&per_page=1")).data[0];
const called = (await listed("per_page=100")).data.find((one) => one.message_count > 2);
const phone = encodeURIComponent(whatsapp.customer.phone);
const screens = {
  conversations: "/console/conversations",
  filtered: "/console/conversations?type=whatsapp,api&per_page=15&include=total",
  activity: "/console/conversations?sort=last_activity&include=total",
  "ai-off": "/console/conversations?ai_enabled=false&type=whatsapp,api",
  sorts: "/console/conversations?sort=last_activity",
  unsorted: "/console/conversations?sort=last_activity&external_identifier=x",
  empty: "/console/conversations?customer_phone=0",
  wrong: "/console/conversations?type=fax",
  conversation: `/console/conversations/${called.id}?per_page=15`,
  customer: `/console/customers?phone=${phone}`,
  find: "/console/customers",
  volumes: "/console/volumes?split=type&period=day",
  assistants: "/console/volumes?split=assistant&period=week&measure=cost",
  statement: "/console/statement",
  health: "/console/health",
  tokens: "/console/tokens",
  "token-new": "/console/tokens/new",
  "token-created": "/console/tokens/new",
  token: "/console/tokens",
  chips: "/console/conversations?type=whatsapp,api",
  missing: "/console/conversations/00000000-0000-4000-8000-000000000000",
};

/** Opens a screen; the one of a token by the link of its row, and that of a new token by its form. */
async function open(page, name, path) {
  await page.goto(base + path);
  if (name === "token") await page.locator("tr[data-token] a").first().click();
  if (name === "token-created") {
    await page.getByLabel("Name").fill("Screenshots");
    await page.getByLabel("read", { exact: false }).first().check();
    await page.getByRole("button", { name: "Create token" }).click();
    await page.getByRole("heading", { name: "Token created" }).waitFor();
  }
  if (name === "chips") await page.locator("summary", { hasText: "Type" }).click();
  if (name === "sorts") await page.locator(".chip.view summary").click();
}

async function checkAxe(page, name) {
  // The page's own policy forbids an injected script; the debugger may evaluate one.
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  for (const violation of result.violations) {
    problems.push(`axe ${name}: ${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
  }
  return result.passes.length;
}

/** The contrast of chart colours against the background, which axe does not see. */
async function checkChart(page, name) {
  const contrasts = await page.evaluate(() => {
    const parse = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((part) => part / 255).map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const back = luminance(parse(getComputedStyle(document.body).backgroundColor));
    const contrast = (colour) => {
      const [high, low] = [luminance(parse(colour)), back].sort((a, b) => b - a);
      return (high + 0.05) / (low + 0.05);
    };
    const shapes = [...document.querySelectorAll(".chart svg rect:not(.hit)")];
    const texts = [...document.querySelectorAll(".chart svg text")];
    return {
      shapes: Math.min(...shapes.map((shape) => contrast(getComputedStyle(shape).fill))),
      texts: Math.min(...texts.map((text) => contrast(getComputedStyle(text).fill))),
    };
  });
  if (contrasts.shapes < 3 || contrasts.texts < 4.5) problems.push(`contrast ${name}: ${JSON.stringify(contrasts)}`);
}

async function everyScreen() {
  let checks = 0;
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 980, 400]) {
      const made = await context({ colorScheme, viewport: { width, height: width > 500 ? 800 : 860 } });
      const page = await made.newPage();
      await page.goto(`${base}/console/sign-in`);
      checks += await checkAxe(page, `sign-in ${colorScheme} ${width}`);
      if (shots) await page.screenshot({ path: join(shots, `sign-in-${colorScheme}-${width}.png`) });
      await signIn(page);
      for (const [name, path] of Object.entries(screens)) {
        await open(page, name, path);
        checks += await checkAxe(page, `${name} ${colorScheme} ${width}`);
        if (await page.locator(".chart svg").count()) await checkChart(page, `${name} ${colorScheme}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        if (wide) problems.push(`${name} ${colorScheme} ${width}: the page scrolls sideways`);
        if (shots) await page.screenshot({ path: join(shots, `${name}-${colorScheme}-${width}.png`) });
      }
      await made.close();
    }
  }
  console.log(`axe: ${checks} rules passed on ${Object.keys(screens).length + 1} screens, 2 schemes, 3 widths`);
}

/** Both directions by the links, row by row as the API. */
async function walk(page, query) {
  let answer = await listed(`${query}&per_page=15`);
  await page.goto(`${base}/console/conversations?${query}&per_page=15`);
  const pages = [];
  for (let number = 0; number < 8; number++) {
    pages.push(answer.data.map((row) => row.id));
    assert.deepEqual(await ids(page), pages.at(-1));
    if (!answer.next_cursor || number === 7) break;
    answer = await listed(`cursor=${answer.next_cursor}`);
    await page.locator("a[rel=next]").click();
    await page.waitForURL(/cursor=/);
  }
  for (const expected of pages.slice(0, -1).reverse()) {
    const before = page.url();
    await page.locator("a[rel=prev]").click();
    await page.waitForURL((url) => url.href !== before);
    assert.deepEqual(await ids(page), expected);
  }
  return pages.flat().length;
}

async function keyboard(page) {
  await page.goto(`${base}/console/conversations?per_page=15`);
  const rows = await ids(page);
  for (const key of ["j", "j", "j", "k"]) await page.keyboard.press(key);
  const focused = () => page.evaluate(() => document.activeElement.closest("tr")?.dataset.id);
  assert.equal(await focused(), rows[1]);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/conversations/${rows[1]}*`);
  await page.keyboard.press("j");
  await page.waitForURL(`**/conversations/${rows[2]}*`);
  await page.keyboard.press("u");
  await page.waitForURL("**/conversations?per_page=15");
  await page.keyboard.press("?");
  assert.ok(await page.locator("#help").isVisible());
  // No key reaches the page below the dialog, and each does from the moment the dialog has closed.
  await page.keyboard.press("/");
  assert.ok(!await page.locator("#customer_phone").isVisible());
  await page.evaluate(() => {
    document.querySelector("#help").addEventListener("close", () => {
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
    }, { once: true });
  });
  await page.keyboard.press("Escape");
  await page.locator("#help").waitFor({ state: "hidden" });
  await page.waitForFunction(() => document.activeElement.id === "customer_phone");
  await page.keyboard.type(whatsapp.customer.phone);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/conversations?*customer_phone=*");
  assert.ok((await ids(page)).includes(whatsapp.id));
  assert.ok(!page.url().includes("type="), "blank fields are left out");
  await page.goBack();
  assert.deepEqual(await ids(page), rows);
  await page.getByRole("link", { name: "AI off", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/ai_enabled=false/);
  await page.goBack();
  // A time shows UTC on hover, and opens its row like any other place of it.
  const time = page.locator("tr[data-id] time").nth(2);
  assert.match(await time.getAttribute("title"), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  for (const place of [time, page.locator("tr[data-id] .preview").nth(2)]) {
    await place.click({ force: true });
    await page.waitForURL(`**/conversations/${rows[2]}*`);
    await page.goBack();
  }
  assert.deepEqual(await ids(page), rows);
  await page.reload();
  assert.deepEqual(await ids(page), rows);
}

/** The writes whose way to the screen is measured. */
const LIVE = 99;

async function live(page) {
  await page.goto(`${base}/console/conversations?type=widget`);
  const badge = page.locator("[data-live]");
  const rows = await ids(page);
  const delays = [];
  await page.waitForTimeout(500);
  for (let count = 1; count <= LIVE; count++) {
    await api("/api/conversations", { method: "POST", body: JSON.stringify({ assistant_id: 1 }) });
    const began = performance.now();
    await page.waitForFunction((text) => document.querySelector("[data-live]").textContent === text, `${count} new`);
    delays.push(performance.now() - began);
  }
  delays.sort((a, b) => a - b);
  assert.ok(delays.at(-1) < 1000, `slowest: ${delays.at(-1)} ms`);
  assert.deepEqual(await ids(page), rows, "nothing moved");
  await badge.click();
  await page.waitForURL(/conversations\?type=widget$/);
  const newest = (await listed("type=widget&per_page=25")).data.map((row) => row.id);
  assert.deepEqual(await ids(page), newest);
  const [half, most] = [0.5, 0.99].map((share) => delays[Math.floor(share * (LIVE - 1))].toFixed(1));
  await newActivity(page);
  console.log(`live: from the response of a write to the page, p50 ${half} ms, p99 ${most} ms of ${LIVE}`);
}

/** In a list by last activity, a conversation counts once, however often it is active. */
async function newActivity(page) {
  await page.goto(`${base}/console/conversations?sort=last_activity&per_page=15`);
  const rows = await ids(page);
  const oldest = rows.at(-1);
  const badge = page.locator("[data-live]");
  for (const row of [oldest, oldest, rows[7]]) {
    const before = await badge.textContent();
    await api(`/api/conversations/${row}/messages`, { method: "POST", body: JSON.stringify({ message: "Hello again" }) });
    const count = row === oldest ? 1 : 2;
    if (before !== `${count} with new activity`) await page.getByText(`${count} with new activity`).waitFor();
  }
  assert.deepEqual(await ids(page), rows, "nothing moved");
  await badge.click();
  await page.waitForURL(/sort=last_activity/);
  assert.deepEqual((await ids(page)).slice(0, 2), [rows[7], oldest]);
  assert.equal(await page.locator("tr .preview").first().locator(".line").last().textContent(), "Hello again");
}

/** A page that is being left says so after a while, and no longer once it is shown again. */
async function slowPage(page) {
  await page.goto(`${base}/console/conversations`);
  const status = page.locator("[data-loading]");
  const dispatch = (name) => page.evaluate((type) => dispatchEvent(new Event(type)), name);
  await dispatch("beforeunload");
  await status.waitFor();
  await dispatch("pageshow");
  await status.waitFor({ state: "hidden" });
}

async function withoutScripts() {
  const made = await context({ javaScriptEnabled: false });
  const page = await made.newPage();
  await signIn(page);
  await page.locator("summary", { hasText: "Type" }).click();
  await page.getByLabel("WhatsApp", { exact: true }).check();
  await page.getByLabel("API", { exact: true }).check();
  await page.locator(".chip").first().getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/type=whatsapp,api/);
  await page.getByRole("link", { name: "Remove this filter: Type" }).click();
  await page.waitForURL((url) => !url.search.includes("type="));
  await page.getByRole("link", { name: "AI off", exact: true }).click();
  await page.waitForURL(/ai_enabled=false/);
  await page.locator("summary", { hasText: "Newest first" }).click();
  await page.getByLabel("Order", { exact: true }).selectOption("asc");
  await page.locator(".chip.view").getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/ai_enabled=false&.*order=asc/);
  await page.getByRole("link", { name: "Remove this filter: AI off" }).click();
  await page.waitForURL((url) => !url.search.includes("ai_enabled="));
  await page.goto(`${base}/console/conversations?created_from=2020-01-01`);
  await page.locator("summary", { hasText: "Newest first" }).click();
  await page.getByLabel("Sort by").selectOption("last_activity");
  await page.locator(".chip.view").getByRole("button", { name: "Apply" }).click();
  await page.waitForURL((url) => url.search === "?per_page=25&sort=last_activity");
  await walk(page, "sort=last_activity");
  await page.goto(`${base}/console/conversations/${called.id}`);
  const label = (await page.getByRole("button", { name: "Turn off" }).count()) ? "off" : "on";
  await page.getByRole("button", { name: `Turn ${label}` }).click();
  await page.getByRole("button", { name: `Turn ${label === "off" ? "on" : "off"}` }).click();
  await page.goto(`${base}/console/volumes`);
  await page.getByLabel("Split").selectOption("assistant");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/split=assistant/);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
  await made.close();
}

/** A token that a person creates, narrows and revokes by its screens, and what a program can do with it meanwhile. */
async function tokens(page) {
  const status = async (path, secret) => {
    const response = await fetch(base + path, { headers: { Authorization: `Bearer ${secret}` } });
    await response.arrayBuffer();
    return response.status;
  };
  await page.goto(`${base}/console/tokens`);
  await page.getByRole("link", { name: "New token" }).click();
  await page.getByRole("button", { name: "Create token" }).click();
  await page.getByText("The scopes field must have at least one.").waitFor();
  await page.getByLabel("Name").fill("Reports");
  await page.locator("input[value=read]").check();
  await page.locator("input[value=stats]").check();
  await page.getByRole("button", { name: "Create token" }).click();
  const secret = await page.getByLabel("Access token").textContent();
  const [list, stats] = ["/api/user/conversations", "/api/user/conversations/stats"];
  assert.deepEqual([await status(list, secret), await status(stats, secret)], [200, 200]);
  await page.getByRole("link", { name: "Details of this token" }).click();
  await page.locator("input[value=stats]").uncheck();
  await page.getByRole("button", { name: "Narrow" }).click();
  await page.locator("input[value=stats]").waitFor({ state: "detached" });
  assert.deepEqual([await status(list, secret), await status(stats, secret)], [200, 403]);
  await page.getByRole("button", { name: "Revoke this token" }).click();
  await page.waitForURL(/console\/tokens$/);
  assert.equal(await status(list, secret), 401);
  assert.equal(await page.getByText("Reports").count(), 0);
}

async function bytes(page) {
  const sizes = [];
  for (const [name, path] of Object.entries(screens)) {
    const body = await (await page.request.get(base + path)).body();
    sizes.push(`${name} ${body.length} (${gzipSync(body, { level: 5 }).length})`);
  }
  console.log(`bytes (with gzip): ${sizes.join(", ")}`);
}

/** The server's CPU time for a page of the list against that of its JSON with previews, by turns; no request is answered from memory. */
async function renderingCost(page) {
  const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
  const cpu = () => readdirSync(`/proc/${server}/task`)
    .reduce((sum, task) => sum + Number(readFileSync(`/proc/${server}/task/${task}/schedstat`, "utf8").split(" ")[0]), 0);
  const load = async (path, headers, round) => {
    const began = cpu();
    for (let number = 0; number < 300; number++) {
      const response = await fetch(`${base}${path}&type=whatsapp&per_page=25&n=${round}-${number}`, { headers });
      assert.equal(response.status, 200);
      await response.arrayBuffer();
    }
    return cpu() - began;
  };
  const ratios = [];
  for (let round = 0; round < 11; round++) {
    const json = await load("/api/user/conversations?fields=preview", { Authorization: `Bearer ${token}`, "Accept-Encoding": "identity" }, round);
    const html = await load("/console/conversations?order=desc", { Cookie: cookie, "Accept-Encoding": "identity" }, round);
    ratios.push(html / json);
  }
  ratios.sort((a, b) => a - b);
  console.log(`cost: a page of the list takes ${ratios[5].toFixed(2)} times the CPU of its JSON (${ratios[0].toFixed(2)} to ${ratios[10].toFixed(2)})`);
}

async function otherUser(url) {
  const made = await context({});
  const page = await made.newPage();
  await signIn(page, otherToken);
  await page.goto(`${base}/console/conversations/${whatsapp.id}`);
  await page.getByRole("heading", { name: "Not found" }).waitFor();
  await page.goto(url);
  assert.deepEqual(await ids(page), []);
  await made.close();
}

/** The token is revoked while the page is open: the next request asks to sign in, and leads back. */
async function revoked(page) {
  // A stream that is requested with the revoked token would be led to the form, which is no stream.
  const stream = page.waitForResponse((response) => response.url().includes("/console/live"));
  await page.goto(base + screens.filtered);
  await stream;
  execFileSync("sh", ["-c", revoke]);
  await page.locator("a[rel=next]").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.match(page.url(), /next=\/console\/conversations/);
}

try {
  await everyScreen();
  const made = await context({});
  const page = await made.newPage();
  await signIn(page);
  let rows = await walk(page, "");
  const cursorUrl = page.url();
  rows += await walk(page, "type=whatsapp&order=asc");
  rows += await walk(page, "type=widget,api");
  rows += await walk(page, "sort=last_activity");
  rows += await walk(page, "ai_enabled=false&type=whatsapp");
  console.log(`walk: ${rows} rows, both ways`);
  await bytes(page);
  if (checks === "all") {
    await keyboard(page);
    await live(page);
    await slowPage(page);
    await withoutScripts();
    await tokens(page);
    await renderingCost(page);
    await otherUser(cursorUrl);
    await revoked(page);
  }
  await made.close();
} finally {
  await browser.close();
}
assert.deepEqual(problems, []);
console.log("0 violations, 0 policy reports, 0 requests to other hosts");
