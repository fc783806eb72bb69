/**
 * @module Six hosts behind shaped lines pull one blob at once: what is counted at the network devices, never how long it
 * took (`npm run bench:swarm` does that).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeBlobFile } from "../bench/blob-files.ts";
import { runSwarm } from "../bench/swarm/run.ts";
import { createWorkspace } from "../bench/workspace.ts";
import { defaultRuntime } from "../rig/eagle.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["ip", "tc", "nginx", "curl"], root: true });
/** So large that what a beginning and an end cost, which are the same for any, are a small share. */
const size = 96 * 1024 * 1024;
/** Mbit/s of every line: so slow that the lines are the limit, whatever the machine. */
const rate = 40;

for (const cold of [false, true]) {
  test(`a ${cold ? "cold" : "warm"} swarm sends the blob about once`, { skip }, async (t) => {
    // The origin's tree is made of links to the blob: one file system for both.
    await using workspace = createWorkspace({ needs: size * 12 });
    const figures = await runSwarm(
      {
        ...{ kind: "swarm", name: "counts", about: "", clients: ["eagle"], target: Number.POSITIVE_INFINITY },
        ...{ hosts: 6, rate, size, blobs: 1, cold },
      },
      "eagle",
      {
        runtime: defaultRuntime(),
        blobs: [makeBlobFile(workspace.dir, { size, seed: "counts" })],
        directory: workspace.dir,
      },
    );
    const { originSent, seederSent, waste, wastedPieces = Number.NaN, hosts } = figures;
    t.diagnostic(
      `origin ${originSent.toFixed(3)}, seeder ${seederSent.toFixed(3)} blobs, waste ${(wastedPieces * 100).toFixed(2)} % (with TCP's own ${(waste * 100).toFixed(2)} %)`,
    );
    assert.equal(hosts.length, 6);
    assert.ok(cold ? Math.abs(originSent - 1) < 0.01 : originSent < 0.01, `the origin sent ${originSent} blobs`);
    assert.ok(seederSent <= 1.1, `the seeder sent ${seederSent} blobs`);
    // TCP repeats what the rig's short queues drop, which is no choice of Eagle's.
    assert.ok(wastedPieces <= 0.01, `${wastedPieces * 100} % waste`);
  });
}
