/** @module Tests of stack traces where descriptors run out: they read no files then, on the runtime that would. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { spareStackTraces } from "./stack-traces.ts";

test("a trace has its places, but none once descriptors have run out", () => {
  const before = Error.prepareStackTrace;
  try {
    spareStackTraces();
    assert.match(new TypeError("usual").stack!, /^TypeError: usual\n {4}at .*stack-traces\.test\.ts:\d+:\d+/);
    const cause = Object.assign(new Error("accept EMFILE"), { code: "EMFILE" });
    const traces = [new Error("no connection", { cause }).stack, new Error("another").stack];
    if ("Deno" in globalThis) assert.deepEqual(traces, ["Error: no connection", "Error: another"]);
    else for (const trace of traces) assert.match(trace!, /\n {4}at /);
  } finally {
    Error.prepareStackTrace = before;
  }
});
