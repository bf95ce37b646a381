// Console: keyboard, live updates, times in the viewer's zone, copying. Every screen works without.
// @ts-check

/** @type {<E extends Element = HTMLElement>(selector: string) => E[]} */
const all = (selector) => Array.from(document.querySelectorAll(selector));
/** @type {<E extends Element = HTMLElement>(selector: string) => E | null} */
const one = (selector) => document.querySelector(selector);

/** Times in the viewer's zone; the title keeps UTC. */
function localTimes() {
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  for (const time of all("time[datetime]")) {
    const at = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(at.valueOf())) continue;
    // A narrow column breaks between the day and the time, and nowhere else.
    time.textContent = `${day.format(at).replaceAll(" ", "\u00a0")} ${clock.format(at)}`;
  }
}

/** Copying a text of the page. */
function copying() {
  for (const button of all("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy ?? "");
    if (!source || !navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const label = button.textContent;
      await navigator.clipboard.writeText(source.textContent ?? "");
      button.textContent = document.body.dataset.copied ?? "";
      setTimeout(() => { button.textContent = label; }, 1200);
    });
  }
}

/** Only one panel is open; Escape and a click elsewhere close it. */
function panels() {
  /** @type {HTMLDetailsElement[]} */
  const details = all(".chip details, details.curl");
  const close = (/** @type {Element | null} */ except) => {
    for (const panel of details) if (panel !== except) panel.open = false;
  };
  for (const panel of details) {
    panel.addEventListener("toggle", () => {
      if (!panel.open) return;
      close(panel);
      /** @type {HTMLElement | null} */
      const field = panel.querySelector("input:checked, input:not([type=hidden]), select");
      field?.focus();
    });
  }
  document.addEventListener("click", (event) => {
    const inside = event.target instanceof Element ? event.target.closest("details") : null;
    close(inside);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = details.find((panel) => panel.open);
    close(null);
    open?.querySelector("summary")?.focus();
  });
}

/** Moves the focus along the rows. @param {number} step */
function moveRow(step) {
  /** @type {HTMLAnchorElement[]} */
  const links = all(".list .whom a");
  const at = links.findIndex((link) => link === document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
  const link = links[Math.max(0, Math.min(next, links.length - 1))];
  link?.focus();
  link?.scrollIntoView({ block: "nearest" });
}

/** Says that the next page is on its way, once it has taken a while. */
function loading() {
  const status = one("[data-loading]");
  let timer = 0;
  addEventListener("beforeunload", () => {
    timer = setTimeout(() => { if (status) status.hidden = false; }, 400);
  });
  // A page that the browser kept is shown again as it was left.
  addEventListener("pageshow", () => {
    clearTimeout(timer);
    if (status) status.hidden = true;
  });
}

/** Opens a row by its times, too, which lie above its link so that UTC is shown on hover. */
function rowTimes() {
  document.addEventListener("click", (event) => {
    const time = event.target instanceof Element ? event.target.closest(".list time") : null;
    /** @type {HTMLAnchorElement | null | undefined} */
    const link = time?.closest("tr")?.querySelector(".whom a");
    link?.click();
  });
}

/** Follows the link of this relation, if the page has it. @param {string} rel */
function follow(rel) {
  one(`main a[rel=${rel}]`)?.click();
}

function keyboard() {
  /** @type {HTMLDialogElement | null} */
  const help = one("#help");
  const showHelp = () => help?.showModal();
  const button = one("[data-help]");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", showHelp);
  }
  /** @type {Record<string, () => void>} */
  const keys = {
    j: () => (one(".list") ? moveRow(1) : follow("next")),
    k: () => (one(".list") ? moveRow(-1) : follow("prev")),
    n: () => follow("next"),
    p: () => follow("prev"),
    u: () => follow("up"),
    "?": showHelp,
    "/": () => {
      const phone = one("#phone") ?? one("#customer_phone");
      /** @type {HTMLDetailsElement | null | undefined} */
      const panel = phone?.closest("details");
      if (panel) panel.open = true;
      phone?.focus();
    },
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    // The dialog's button keeps the focus for a frame after the dialog closes, so the target cannot tell.
    const isTaken = help?.open || target?.closest("input, select, textarea");
    const action = keys[event.key];
    if (!action || isTaken || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
}

/** Counts new conversations, and marks rows that changed, without moving anything. */
function live() {
  /** @type {HTMLAnchorElement | null} */
  const link = one("[data-live]");
  const url = link?.dataset.url;
  const offline = one("[data-offline]");
  if (!link || !url) return;
  let last = "";
  /** @type {EventSource | null} */
  let source = null;
  const mark = (/** @type {string[]} */ ids, /** @type {string} */ name) => {
    for (const id of ids) one(`tr[data-id="${CSS.escape(id)}"]`)?.classList.add(name);
  };
  const open = () => {
    const target = new URL(url, location.href);
    if (last) target.searchParams.set("after", last);
    source = new EventSource(target);
    source.onopen = () => { if (offline) offline.hidden = true; };
    source.onerror = () => {
      // A stream that is refused is closed for good; the next page says why.
      if (offline && source?.readyState === EventSource.CONNECTING) offline.hidden = false;
    };
    source.onmessage = (event) => {
      last = event.lastEventId;
      /** @type {{ new: string, updated: string[], deleted: string[] }} */
      const changes = JSON.parse(event.data);
      mark(changes.updated, "changed");
      mark(changes.deleted, "gone");
      link.textContent = `${changes.new} ${link.dataset.word}`;
      link.hidden = !changes.new;
    };
    source.addEventListener("end", () => source?.close());
  };
  // A hidden tab needs no connection: browsers have six for a host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else if (!source) open();
  });
  addEventListener("pagehide", () => source?.close());
  if (!document.hidden) open();
}

localTimes();
copying();
panels();
loading();
rowTimes();
keyboard();
live();
