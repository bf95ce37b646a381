// What the server of a trial has, and where it is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const url = variable("CONVODB_URL");
export const token = variable("CONVODB_TOKEN");

function variable(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

// The fields of an item of the list that programs here name; the others are compared as they are.
export interface Item {
  id: string;
  total_cost: number;
}

// Returns the stored conversations as lists contain them, newest first.
export function stored(): Item[] {
  const lines = readFileSync(variable("CONVODB_STORED"), "utf8").trimEnd().split("\n");
  return lines.map((line) => {
    const { messages, ...item } = JSON.parse(line);
    return item;
  }).reverse();
}
