// Prints conversations for an import, as a server had them that was in use for months: long histories, assistants of
// several purposes, customers who write again, scripts of all directions, words without a break, and markup in every
// text. The same lines for each run. Argument: the number of conversations.
const count = Number(process.argv[2]);
let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";
const TEXTS = [
  "Where is my order?", "It left our warehouse this morning and arrives on Thursday.", "Thanks a lot 🙏🏽",
  "Können Sie mir bitte die Rechnung noch einmal schicken?", "هل يمكنني تغيير العنوان؟", "予約を変更したいです。",
  "First line\n\nThird line, after an empty one\n\twith a tab", "https://example.com/" + "path/".repeat(60),
  "W".repeat(600), MARKUP, "‮reversed‬ and back", " ",
];
const NAMES = ["Ada Ivy", "Иван Петров", "محمد علي", "N".repeat(200), MARKUP, "O’Brien-Nuñez"];
const pick = (list) => list[random(list.length)];
const time = (at) => new Date(at).toISOString().slice(0, 19).replace("T", " ");

for (let number = 0; number < count; number++) {
  const at = Date.UTC(2018, 0, 1) + number * 7_200_000 + random(7_000_000);
  const length = number % 50 === 0 ? 60 + random(90) : random(14);
  const messages = Array.from({ length }, (_, index) => ({
    role: index % 9 === 8 ? "tool" : index % 2 ? "assistant" : "user",
    content: pick(TEXTS),
    created_at: time(at + index * 20_000),
    ...(index % 7 === 3 && { function_calls: [{ name: "track_order", arguments: { id: number, note: MARKUP } }] }),
  }));
  const assistant = random(6);
  const phone = `+1555${String(1_000_000 + random(count / 3 + 1))}`;
  const contact = { phone, ...(number % 3 && { name: pick(NAMES) }) };
  const type = pick(["whatsapp", "whatsapp", "widget", "api", "test"]);
  console.log(JSON.stringify({
    id: `00000000-0000-4000-8000-${number.toString(16).padStart(12, "0")}`,
    type,
    assistant_id: `a1b2c3d4-5678-40ab-8def-00000000000${assistant}`,
    assistant_name: assistant ? `Assistant for purpose ${assistant}` : MARKUP,
    variables: number % 4 ? { plan: pick(["free", "pro"]), note: pick(TEXTS), nested: { [MARKUP]: [1, null] } } : null,
    total_cost: random(900_000) / 1_000_000,
    ai_enabled: random(8) > 0,
    created_at: time(at),
    updated_at: time(at + length * 20_000),
    ...(type === "whatsapp" && { whatsapp_sender: { name: "Desk", phone: "+15550100003" }, customer: contact }),
    ...(type === "api" && random(4) && { external_identifier: random(5) ? `crm-${random(400)}` : MARKUP }),
    messages,
  }));
}
