/**
 * @module Peers that lie: wrong bytes, piece lists that are garbage, pieces they do not have. The pull ends right.
 *
 * The liar is an honest proxy behind a fault proxy; a heartbeat in the liar's name tells the tracker of it.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { CountingProxy } from "../rig/counting-proxy.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { FaultKind, FaultTarget } from "../rig/faults.ts";
import { call } from "../rig/http-call.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/lies";
const size = 24_000_000;
const always = { times: Number.POSITIVE_INFINITY };
const bytesOfBlob = /\/p2p\/v1\/blobs\/sha256:[0-9a-f]{64}$/;
const pieceList = /\/pieces$/;

const lies: Record<string, [FaultKind, FaultTarget][]> = {
  "wrong bytes": [
    [
      { kind: "flip", at: 5, of: "body" },
      { ...always, match: bytesOfBlob },
    ],
    [
      { kind: "flip", at: 5, of: "body" },
      { ...always, match: /\/next$/, method: "POST" },
    ],
  ],
  "a piece list of random bytes": [
    [
      { kind: "garbage", bytes: 1_000_000 },
      { ...always, match: pieceList },
    ],
  ],
  "a piece list without end": [
    [
      { kind: "garbage", bytes: 300_000_000 },
      { ...always, match: pieceList },
    ],
  ],
  "a piece list that never comes": [[{ kind: "hole" }, { ...always, match: pieceList }]],
  "pieces it does not have": [
    [
      { kind: "status", status: 404 },
      { ...always, match: bytesOfBlob },
    ],
    [
      { kind: "status", status: 404 },
      { ...always, match: /\/next$/, method: "POST" },
    ],
  ],
  "pieces that never come": [
    [
      { kind: "stall", at: 1000 },
      { ...always, match: bytesOfBlob },
    ],
    [
      { kind: "stall", at: 1000 },
      { ...always, match: /\/next$/, method: "POST" },
    ],
  ],
  "too many bytes": [
    [
      { kind: "garbage", bytes: 50_000_000 },
      { ...always, match: bytesOfBlob },
    ],
    [
      { kind: "garbage", bytes: 50_000_000 },
      { ...always, match: /\/next$/, method: "POST" },
    ],
  ],
};

describe("a peer that lies", { skip }, () => {
  let rig: Rig;
  let cluster: Cluster;
  let holder: EagleApp;

  before(async () => {
    rig = await Rig.create();
    cluster = await startCluster(rig, { proxies: 0, seederConfig: { seederCfg: { uploadRateLimit: "12M" } } });
    const elsewhere = await cluster.addTracker();
    holder = await cluster.addProxy({ trackers: [elsewhere.url] });
  });
  after(() => rig.close());

  for (const [title, faults] of Object.entries(lies)) {
    test(title, async (t) => {
      const blob = await cluster.pushBlob(repository, size, { seed: title });
      await pullBlob(holder, repository, blob);
      const liar = rig.use(await CountingProxy.start(holder.peerUrl));
      for (const [effect, target] of faults) liar.inject(effect, target);
      await announceHolder(cluster, liar, blob.digest);

      const victim = await cluster.addProxy({ trackers: [cluster.tracker.url] });
      await pullBlob(victim, repository, blob);
      assert.ok(liar.requests.length > 0, "the liar was asked");
      assert.equal(await victim.health(), 200);
      await victim.kill();
      const sent = liar.requests.reduce((sum, { bytes }) => sum + bytes, 0);
      t.diagnostic(`the liar was asked ${liar.requests.length} times and sent ${sent} bytes`);
    });
  }
});

async function announceHolder(cluster: Cluster, holder: CountingProxy, digest: string): Promise<void> {
  const heartbeat = {
    peer: randomBytes(20).toString("hex"),
    port: Number(holder.url.port),
    epoch: "liar",
    lease: 300,
    seq: 1,
    full: true,
    add: [digest],
    remove: [],
  };
  const answer = await call(new URL("/p2p/v1/holdings", cluster.tracker.url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(heartbeat),
  });
  assert.equal(answer.status, 200, answer.text);
}
