/** @module Tests of the store in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TrackerError } from "./errors.ts";
import { MemorySwarmStore } from "./memory-store.ts";
import { swarmStoreSuite } from "./store-suite.ts";

swarmStoreSuite("MemorySwarmStore", (init) => new MemorySwarmStore(init));

const peer = (n: number) => ({ peerId: String(n).padStart(40, "0"), ip: `10.0.0.${n}`, port: 1, zone: "" });
const full = (error: unknown) => error instanceof TrackerError && error.code === "full";

test("beyond its bounds newcomers are refused, and nobody is thrown out", async () => {
  const store = new MemorySwarmStore({ maxAnnounced: 2, maxSwarms: 1, maxHosts: 1, maxHoldings: 1 });
  const announce = (n: number, key = "aa".repeat(20)) =>
    store.announce({ key, peer: peer(n), stopped: false, complete: false, ttlMs: 1e6, numwant: 9 });
  const beat = (n: number, add: string[]) =>
    store.holdings({
      peer: peer(n),
      epoch: "e",
      seq: 1,
      leaseMs: 1e6,
      add,
      remove: [],
      full: true,
      stopped: false,
    });
  await announce(1);
  await assert.rejects(announce(2, "bb".repeat(20)), full);
  await announce(2);
  await assert.rejects(announce(3), full);
  assert.equal((await announce(1)).peers.length, 1);
  await beat(1, ["aa".repeat(20)]);
  await assert.rejects(beat(2, []), full);
  await assert.rejects(
    store.holdings({
      peer: peer(1),
      epoch: "e",
      seq: 2,
      leaseMs: 1e6,
      add: ["bb".repeat(20)],
      remove: [],
      full: false,
      stopped: false,
    }),
    full,
  );
  assert.deepEqual(await store.sizes(), { swarms: 1, announced: 2, hosts: 1, holdings: 1 });
});
