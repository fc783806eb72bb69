/** @module Tests of who goes first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Precedence } from "./precedence.ts";
import { turns } from "./testing/blobs.ts";

const MiB = 1024 * 1024;

test("strangers get all there is while no host of Eagle is served", async () => {
  const precedence = new Precedence({ now: () => 0 });
  for (let index = 0; index < 100; index++) await precedence.turn(MiB);
});

test("beside hosts of Eagle they get a share, in the order they came", async () => {
  const precedence = new Precedence({ now: () => 0 });
  const end = precedence.own(1);
  await precedence.turn(3 * MiB);
  const order: number[] = [];
  const waiting = [1, 2].map((name) => precedence.turn(MiB).then(() => order.push(name)));
  await turns();
  assert.deepEqual(order, []);
  // What they had too much is paid back first.
  for (let sent = 0; sent < 5; sent++) precedence.own(MiB)();
  await waiting[0];
  assert.deepEqual(order, [1]);
  for (let sent = 0; sent < 5; sent++) precedence.own(MiB)();
  await waiting[1];
  assert.deepEqual(order, [1, 2]);
  end();
});

test("soon after the last piece for a host of Eagle they get all again", async () => {
  let now = 0;
  const precedence = new Precedence({ now: () => now });
  const end = precedence.own(1);
  await precedence.turn(100 * MiB);
  now += 900;
  end();
  end();
  let had = false;
  const waiting = precedence.turn(MiB).then(() => {
    had = true;
  });
  await turns();
  assert.equal(had, false);
  now += 1100;
  await waiting;
});

test("who leaves waits no longer, and holds up nobody", async () => {
  let now = 0;
  const precedence = new Precedence({ now: () => now });
  precedence.own(1);
  await precedence.turn(3 * MiB);
  const gone = new AbortController();
  const first = precedence.turn(MiB, gone.signal);
  const second = precedence.turn(MiB);
  gone.abort(new Error("left"));
  await assert.rejects(first, /left/);
  now += 1000;
  await second;
});

test("nobody is cut off, however long hosts of Eagle are served", async () => {
  let now = 0;
  const precedence = new Precedence({ now: () => now });
  precedence.own(1);
  await precedence.turn(100 * MiB);
  for (let index = 0; index < 3; index++) {
    now += 1000;
    await precedence.turn(MiB);
  }
});
