// A Postman collection converted from the description, run as it is by newman.

import assert from "node:assert/strict";

import newman from "newman";
import converter from "openapi-to-postmanv2";

const { CONVODB_URL, CONVODB_TOKEN } = process.env;

const description = await (await fetch(`${CONVODB_URL}/openapi.json`)).json();
const options = { parametersResolution: "Example" };
const converted = await new Promise((resolve, reject) => {
  converter.convertV2({ type: "json", data: description }, options, (error, result) => {
    if (error || !result.result) reject(error ?? new Error(result.reason));
    else resolve(result);
  });
});
const collection = converted.output[0].data;

// Runs the requests of the collection, or one of them, and returns their names and statuses.
async function run(folder) {
  const envVar = [{ key: "bearerToken", value: CONVODB_TOKEN }];
  const summary = await new Promise((resolve, reject) => {
    newman.run({ collection, folder, envVar }, (error, done) => (error ? reject(error) : resolve(done)));
  });
  return summary.run.executions.map(({ item, response }) => [item.name, response?.code, `${response?.stream}`]);
}

// The examples are about the conversation that the example of the import has.
await run("Import conversations");
const executions = await run();
for (const [name, code, body] of executions) {
  assert.equal(code, 200, `${name}: ${body}`);
}
const operations = Object.values(description.paths).flatMap((path) => Object.keys(path));
assert.equal(executions.length, operations.length);
