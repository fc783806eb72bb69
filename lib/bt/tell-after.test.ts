import assert from "node:assert/strict";
import { it } from "node:test";
import { tellAfterMs } from "./tell-after.ts";

it("pieces are told at once where they come fast, later where they come slowly, within bounds", () => {
  assert.equal(tellAfterMs(undefined), 15);
  assert.equal(tellAfterMs(20), 15);
  assert.equal(tellAfterMs(240), 60);
  assert.equal(tellAfterMs(60_000), 100);
});
