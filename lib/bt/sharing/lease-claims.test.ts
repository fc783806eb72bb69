/** @module Tests of turns by leases. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../log/log.ts";
import { MemoryStore } from "../../storage/memory.ts";
import { LeaseClaims } from "./lease-claims.ts";

const id = "ab".repeat(32);

/** Seeders over one store, whose clock is the test's. */
function seeders(names: readonly string[]) {
  const objects = new MemoryStore();
  const clock = { ms: 0 };
  const start = (name: string, instance = name) =>
    new LeaseClaims({
      objects,
      self: new URL(`http://${name}:1`),
      instance,
      log: silentLogger,
      now: () => clock.ms,
      lostAfterMs: 1000,
      renewMs: 3600_000,
    });
  return { objects, clock, start, all: names.map((name) => start(name)) };
}

async function keysOf(objects: MemoryStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of objects.list("")) keys.push(key);
  return keys;
}

test("of many one gets the turn, the others its address; a release leaves nothing", async () => {
  const { objects, all } = seeders(["a", "b", "c", "d"]);
  const claims = await Promise.all(all.map((each) => each.claim(id)));
  const mine = claims.filter((claim) => claim.kind === "mine");
  assert.equal(mine.length, 1);
  const owner = `http://${"abcd"[claims.indexOf(mine[0]!)]}:1/`;
  for (const claim of claims) if (claim.kind === "other") assert.equal(claim.owner.href, owner);
  await mine[0]!.release();
  assert.deepEqual(await keysOf(objects), []);
  const again = await all[1]!.claim(id);
  assert.equal(again.kind, "mine");
  for (const each of all) await each[Symbol.asyncDispose]();
  assert.deepEqual(await keysOf(objects), []);
});

test("a lease that stays unchanged is taken over by one, a renewed one is not", async () => {
  const { objects, clock, all } = seeders(["a", "b", "c"]);
  const [a, b, c] = all as [LeaseClaims, LeaseClaims, LeaseClaims];
  assert.equal((await a.claim(id)).kind, "mine");
  assert.equal((await b.claim(id)).kind, "other");
  clock.ms = 900;
  const key = (await keysOf(objects))[0]!;
  await objects.put(key, Buffer.from(JSON.stringify({ owner: "http://a:1", instance: "a", turn: 1 })));
  assert.equal((await b.claim(id)).kind, "other");
  assert.equal((await c.claim(id)).kind, "other");
  clock.ms = 1800;
  assert.equal((await b.claim(id)).kind, "other", "it was renewed 900 ms ago");
  clock.ms = 2000;
  const kinds = (await Promise.all([b.claim(id), c.claim(id)])).map(({ kind }) => kind).sort();
  assert.deepEqual(kinds, ["mine", "other"]);
  for (const each of all) await each[Symbol.asyncDispose]();
  assert.deepEqual(await keysOf(objects), []);
});

test("a dead owner's lease is taken over at once, not that of its next life", async () => {
  const { start, all } = seeders(["a", "b"]);
  const [a, b] = all as [LeaseClaims, LeaseClaims];
  await a.claim(id);
  const before = await b.claim(id);
  assert.ok(before.kind === "other");
  b.suspect(before.owner, { dead: false });
  assert.equal((await b.claim(id)).kind, "other", "not reached is not dead");
  b.suspect(before.owner, { dead: true });
  const taken = await b.claim(id);
  assert.ok(taken.kind === "mine");
  await taken.release();

  const reborn = start("a", "a2");
  assert.equal((await reborn.claim(id)).kind, "mine");
  assert.equal((await b.claim(id)).kind, "other");
  for (const each of [...all, reborn]) await each[Symbol.asyncDispose]();
});

test("a seeder takes back the leases of its earlier life, and those that make no sense", async () => {
  const { objects, start, all } = seeders(["a"]);
  await all[0]!.claim(id);
  const reborn = start("a", "a2");
  assert.equal((await reborn.claim(id)).kind, "mine");
  const other = "cd".repeat(32);
  await objects.put(`leases/${other}/00000007`, Buffer.from("{"));
  await objects.put(`leases/${other}/../x`, Buffer.from("not one of ours"));
  assert.equal((await reborn.claim(other)).kind, "mine");
  for (const each of [...all, reborn]) await each[Symbol.asyncDispose]();
});
