/** @module Tests of turns by rendezvous. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../log/log.ts";
import { MemoryStore } from "../../storage/memory.ts";
import { RendezvousClaims } from "./rendezvous-claims.ts";

const ids = Array.from({ length: 40 }, (_, index) => index.toString(16).padStart(64, "0"));

test("all agree on the owner of each blob; one that cannot be reached is passed over, one that left is gone", async () => {
  const objects = new MemoryStore();
  let ms = 0;
  const start = (name: string) =>
    new RendezvousClaims({
      objects,
      self: new URL(`http://${name}:1`),
      instance: name,
      log: silentLogger,
      now: () => ms,
    });
  const [a, b, c] = [start("a"), start("b"), start("c")];
  const owners = async (claims: RendezvousClaims, name: string) => {
    const found: string[] = [];
    for (const id of ids) {
      const claim = await claims.claim(id);
      found.push(claim.kind === "mine" ? name : claim.owner.hostname);
    }
    return found;
  };
  try {
    ms = 5000;
    const agreed = await owners(a, "a");
    assert.deepEqual(new Set(agreed), new Set(["a", "b", "c"]));
    assert.deepEqual(await owners(b, "b"), agreed);
    assert.deepEqual(await owners(c, "c"), agreed);

    a.suspect(new URL("http://b:1"));
    const without = await owners(a, "a");
    assert.ok(!without.includes("b"));
    without.forEach((owner, index) => {
      if (agreed[index] !== "b") assert.equal(owner, agreed[index], "only its own blobs move");
    });
    ms = 30_000;
    assert.deepEqual(await owners(a, "a"), agreed);

    await c[Symbol.asyncDispose]();
    ms = 35_000;
    assert.ok(!(await owners(a, "a")).includes("c"));

    await objects.put(`seeders/${Buffer.from("no url").toString("base64url")}.x`, Buffer.from("1"));
    ms = 40_000;
    assert.deepEqual(new Set(await owners(b, "b")), new Set(["a", "b"]));
  } finally {
    for (const each of [a, b, c]) await each[Symbol.asyncDispose]();
  }
});
