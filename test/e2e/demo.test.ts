/**
 * @module `npm run demo`, as a newcomer types it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { repositoryRoot } from "../rig/eagle.ts";
import { Rig } from "../rig/rig.ts";

test("the demo pulls cold and warm, checks every digest and exits 0 within a minute", async (t) => {
  const rig = await Rig.for(t);
  const output = await rig.processes.run("npm", ["run", "demo"], { cwd: repositoryRoot, timeoutMs: 60_000 });
  for (const word of [/origin/i, /seeder/i, /peer/i, /sha256:|digest/i]) assert.match(output, word);
});
