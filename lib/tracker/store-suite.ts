/** @module What every swarm store must do, as tests: each implementation runs them with its own factory. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { StoreAnnounce, StoredPeer, StoreHoldings, SwarmStore } from "./store.ts";

/** Makes an empty store with the given clock (ms) and randomness. */
export type StoreFactory = (init: { now: () => number; random: () => number }) => SwarmStore | Promise<SwarmStore>;

const KEY = "aa".repeat(20);
const OTHER = "bb".repeat(20);

/** A peer by number: 10.x.y.z, port 6000. */
function peer(n: number, changes: Partial<StoredPeer> = {}): StoredPeer {
  const ip = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
  return { peerId: n.toString(16).padStart(40, "0"), ip, port: 6000, zone: "", ...changes };
}

function announce(from: StoredPeer, changes: Partial<StoreAnnounce> = {}): StoreAnnounce {
  return { key: KEY, peer: from, stopped: false, complete: false, ttlMs: 35_000, numwant: 50, ...changes };
}

function beat(from: StoredPeer, seq: number, changes: Partial<StoreHoldings> = {}): StoreHoldings {
  const rest = { epoch: "e1", leaseMs: 60_000, add: [], remove: [], full: false, stopped: false };
  return { peer: from, seq, ...rest, ...changes };
}

/** Registers the tests. */
export function swarmStoreSuite(name: string, factory: StoreFactory): void {
  const make = async () => {
    const clock = { ms: 1000 };
    const store = await factory({ now: () => clock.ms, random: Math.random });
    const ids = async (n: number, changes: Partial<StoreAnnounce> = {}) =>
      (await store.announce(announce(peer(n), changes))).peers.map(({ peerId }) => Number.parseInt(peerId, 16));
    return { clock, store, ids };
  };

  describe(name, () => {
    test("peers find each other, nobody finds itself", async () => {
      const { store, ids } = await make();
      assert.deepEqual(await ids(1), []);
      assert.deepEqual(await ids(2), [1]);
      assert.deepEqual(await ids(1), [2]);
      const same = await store.announce(announce(peer(3, { peerId: peer(1).peerId })));
      assert.deepEqual(
        same.peers.map(({ ip }) => ip),
        ["10.0.0.2"],
      );
      const { complete, incomplete } = same;
      assert.deepEqual({ complete, incomplete }, { complete: 0, incomplete: 3 });
      await store.close();
    });

    test("counts, and finds complete peers first", async () => {
      const { store, ids } = await make();
      for (let n = 1; n <= 9; n += 1) await ids(n, { complete: n > 6 });
      assert.deepEqual(new Set((await ids(1)).slice(0, 3)), new Set([7, 8, 9]));
      assert.deepEqual(await store.scrape([KEY, OTHER]), [
        { complete: 3, incomplete: 6 },
        { complete: 0, incomplete: 0 },
      ]);
      await ids(1, { complete: true });
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 4, incomplete: 5 }]);
      await store.close();
    });

    test("two keys are two swarms", async () => {
      const { store, ids } = await make();
      await ids(1);
      assert.deepEqual(await ids(2, { key: OTHER }), []);
      assert.deepEqual(await ids(3, { key: OTHER }), [2]);
      await store.close();
    });

    test("the same zone comes first", async () => {
      const { store } = await make();
      for (let n = 1; n <= 40; n += 1) {
        await store.announce(announce(peer(n, { zone: n % 4 === 0 ? "near" : "far" }), { complete: n > 20 }));
      }
      const { peers } = await store.announce(announce(peer(99, { zone: "near" }), { numwant: 100 }));
      const kinds = peers.map(({ zone, peerId }) => `${zone} ${Number.parseInt(peerId, 16) > 20}`);
      const expected = [
        ...Array(5).fill("near true"),
        ...Array(5).fill("near false"),
        ...Array(15).fill("far true"),
        ...Array(15).fill("far false"),
      ];
      assert.deepEqual(kinds, expected);
      // Moving to another zone is no second membership.
      await store.announce(announce(peer(4, { zone: "far" })));
      assert.equal((await store.scrape([KEY]))[0]!.incomplete, 21);
      await store.close();
    });

    test("a swarm of 5,000 keeps all, and gives no more than wanted", async () => {
      const { store, ids } = await make();
      const found = new Set<number>();
      for (let n = 1; n <= 5000; n += 1) await ids(n, { numwant: 0 });
      for (let i = 0; i < 200; i += 1) {
        const got = await ids(1, { numwant: 200 });
        assert.equal(got.length, 200);
        for (const n of got) found.add(n);
      }
      assert.ok(found.size > 4900, String(found.size));
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 0, incomplete: 5000 }]);
      assert.equal((await ids(1, { numwant: 10_000 })).length, 4999);
      await store.close();
    });

    test("stopped takes effect at once; of a stranger it does nothing", async () => {
      const { store, ids } = await make();
      await ids(1);
      await ids(2, { complete: true });
      assert.deepEqual(await ids(2, { stopped: true }), []);
      assert.deepEqual(await ids(3, { stopped: true }), []);
      assert.deepEqual(await ids(4), [1]);
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 0, incomplete: 2 }]);
      await ids(1, { stopped: true });
      await ids(4, { stopped: true });
      assert.equal((await store.sizes()).swarms, 0);
      await store.close();
    });

    test("who is silent for longer than its time to live is forgotten, others are not", async () => {
      const { clock, store, ids } = await make();
      await ids(1);
      await ids(2, { ttlMs: 600_000 });
      clock.ms += 34_999;
      assert.deepEqual(new Set(await ids(3)), new Set([1, 2]));
      clock.ms += 1;
      assert.deepEqual(new Set(await ids(4)), new Set([2, 3]));
      await ids(2, { ttlMs: 10_000 });
      clock.ms += 10_000;
      assert.deepEqual(new Set(await ids(5)), new Set([3, 4]));
      clock.ms += 1_000_000;
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 0, incomplete: 0 }]);
      assert.deepEqual(await store.sizes(), { swarms: 0, announced: 0, hosts: 0, holdings: 0 });
      await store.close();
    });

    test("holders are found beside announcers, and counted once", async () => {
      const { store, ids } = await make();
      assert.deepEqual(await store.holdings(beat(peer(1), 1, { add: [KEY, OTHER] })), { resync: false });
      await ids(2);
      assert.deepEqual(await ids(3), [1, 2]);
      // The holder announces as well, first while fetching something of it, then as complete.
      assert.deepEqual(new Set(await ids(1)), new Set([2, 3]));
      await ids(1, { complete: true });
      assert.deepEqual(await store.scrape([KEY, OTHER]), [
        { complete: 1, incomplete: 2 },
        { complete: 1, incomplete: 0 },
      ]);
      // It evicts the blob, and is what its last announce said.
      await store.holdings(beat(peer(1), 2, { remove: [KEY] }));
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 1, incomplete: 2 }]);
      await ids(1, { stopped: true });
      assert.deepEqual(await store.scrape([KEY]), [{ complete: 0, incomplete: 2 }]);
      await store.close();
    });

    test("adding and removing twice is once", async () => {
      const { store } = await make();
      await store.holdings(beat(peer(1), 1, { add: [KEY, KEY] }));
      await store.holdings(beat(peer(1), 2, { add: [KEY] }));
      assert.equal((await store.sizes()).holdings, 1);
      await store.holdings(beat(peer(1), 3, { remove: [KEY, KEY, OTHER] }));
      assert.deepEqual(await store.sizes(), { swarms: 0, announced: 0, hosts: 1, holdings: 0 });
      await store.close();
    });

    test("a lease that ends, and a host that stops, vanish at once", async () => {
      const { clock, store, ids } = await make();
      await store.holdings(beat(peer(1), 1, { add: [KEY], leaseMs: 5_000 }));
      await store.holdings(beat(peer(2), 1, { add: [KEY], leaseMs: 60_000 }));
      await store.holdings(beat(peer(3), 1, { add: [KEY], leaseMs: 60_000 }));
      clock.ms += 4_999;
      assert.equal((await ids(9)).length, 3);
      clock.ms += 1;
      assert.deepEqual(new Set(await ids(9)), new Set([2, 3]));
      await store.holdings(beat(peer(2), 2, { stopped: true }));
      assert.deepEqual(await ids(9), [3]);
      // A heartbeat renews the lease, and a late message of the stopped host does not bring it back.
      clock.ms += 50_000;
      await store.holdings(beat(peer(3), 2));
      assert.deepEqual(await store.holdings(beat(peer(2), 3, { add: [KEY] })), { resync: true });
      clock.ms += 59_999;
      assert.deepEqual(await ids(9), [3]);
      await store.close();
    });

    test("resync: after a restart of the tracker and after a lost message", async () => {
      const { store, ids } = await make();
      assert.deepEqual(await store.holdings(beat(peer(1), 7, { add: [KEY] })), { resync: true });
      assert.deepEqual(await ids(9), []);
      assert.deepEqual(await store.holdings(beat(peer(1), 8, { add: [KEY], full: true })), { resync: false });
      assert.deepEqual(await store.holdings(beat(peer(1), 9, { add: [OTHER] })), { resync: false });
      // 10 is lost; what 11 says is true all the same.
      assert.deepEqual(await store.holdings(beat(peer(1), 11, { remove: [KEY] })), { resync: true });
      assert.deepEqual(await store.scrape([KEY, OTHER]), [
        { complete: 0, incomplete: 1 },
        { complete: 1, incomplete: 0 },
      ]);
      // 10 comes after all: it is older than what is known.
      assert.deepEqual(await store.holdings(beat(peer(1), 10, { add: [KEY] })), { resync: false });
      assert.equal((await store.scrape([KEY]))[0]!.complete, 0);
      assert.deepEqual(await store.holdings(beat(peer(1), 12, { add: [KEY], full: true })), { resync: false });
      assert.deepEqual(await store.holdings(beat(peer(1), 13, { add: [] })), { resync: false });
      assert.deepEqual(await store.scrape([KEY, OTHER]), [
        { complete: 1, incomplete: 1 },
        { complete: 0, incomplete: 0 },
      ]);
      await store.close();
    });

    test("a new epoch replaces the old one", async () => {
      const { store } = await make();
      await store.holdings(beat(peer(1), 1, { add: [KEY] }));
      await store.holdings(beat(peer(1), 1, { add: [OTHER], epoch: "e2" }));
      assert.deepEqual(
        (await store.scrape([KEY, OTHER])).map(({ complete }) => complete),
        [0, 1],
      );
      // The process before it says goodbye too late.
      await store.holdings(beat(peer(1), 9, { stopped: true }));
      assert.equal((await store.scrape([OTHER]))[0]!.complete, 1);
      await store.close();
    });

    test("another process at the same address replaces the host; the same peer id elsewhere does not", async () => {
      const { store } = await make();
      await store.holdings(beat(peer(1), 1, { add: [KEY] }));
      await store.holdings(beat(peer(2, { peerId: peer(1).peerId }), 1, { epoch: "x", add: [OTHER] }));
      assert.deepEqual(
        (await store.scrape([KEY, OTHER])).map(({ complete }) => complete),
        [1, 1],
      );
      await store.holdings(beat({ ...peer(1), peerId: peer(7).peerId }, 1, { epoch: "y" }));
      assert.deepEqual(
        (await store.scrape([KEY, OTHER])).map(({ complete }) => complete),
        [0, 1],
      );
      await store.close();
    });

    test("a host that moves to another port or zone begins anew", async () => {
      const { store } = await make();
      await store.holdings(beat(peer(1), 1, { add: [KEY] }));
      assert.deepEqual(await store.holdings(beat(peer(1, { port: 6001 }), 2)), { resync: true });
      assert.equal((await store.scrape([KEY]))[0]!.complete, 0);
      await store.close();
    });

    test("loopback peers are told to loopback peers only", async () => {
      const { store } = await make();
      const local = peer(1, { ip: "127.0.0.1" });
      await store.announce(announce(local));
      await store.holdings(beat(peer(2, { ip: "::1" }), 1, { add: [KEY] }));
      assert.deepEqual((await store.announce(announce(peer(3)))).peers, []);
      assert.equal((await store.announce(announce(peer(4, { ip: "127.0.0.1", port: 7 })))).peers.length, 3);
      await store.close();
    });

    test("any interleaving leaves nothing behind", async () => {
      const { clock, store } = await make();
      let state = 7;
      const below = (limit: number) => {
        state = (state * 48271) % 2147483647;
        return state % limit;
      };
      const keys = [KEY, OTHER, "cc".repeat(20)];
      for (let i = 0; i < 20_000; i += 1) {
        clock.ms += below(50);
        const from = peer(below(30), { zone: ["", "a", "b"][below(3)]! });
        const key = keys[below(3)]!;
        if (below(2) === 0) {
          const view = await store.announce(
            announce(from, { key, complete: below(2) === 0, stopped: below(4) === 0, ttlMs: 1000 + below(2) * 500 }),
          );
          const addresses = view.peers.map(({ ip }) => ip);
          assert.equal(new Set(addresses).size, addresses.length);
          assert.ok(!addresses.includes(from.ip));
          assert.ok(view.complete >= 0 && view.incomplete >= 0);
          assert.ok(addresses.length <= view.complete + view.incomplete);
        } else {
          const change = below(2) === 0 ? { add: [key] } : { remove: [key] };
          const more = { stopped: below(20) === 0, full: below(5) === 0, epoch: `e${below(40)}`, leaseMs: 800 };
          await store.holdings(beat(from, i, { ...change, ...more }));
        }
      }
      clock.ms += 10_000;
      assert.deepEqual(await store.sizes(), { swarms: 0, announced: 0, hosts: 0, holdings: 0 });
      await store.close();
    });
  });
}
