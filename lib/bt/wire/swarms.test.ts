/** @module Tests of the swarms this host is announced in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeBencode } from "../../bencode/bencode.ts";
import { silentLogger } from "../../log/log.ts";
import { TrackerClient } from "../../tracker/client.ts";
import { fakeTracker } from "../../tracker/fake-tracker.ts";
import { turns, until } from "../testing/blobs.ts";
import { Swarms } from "./swarms.ts";

const answer = encodeBencode(
  new Map<string, number | Uint8Array>([
    ["interval", 60],
    ["peers", new Uint8Array()],
  ]),
);
const name = (index: number) => index.toString(16).padStart(40, "0");

async function setUp({ now }: { now?: () => number } = {}) {
  const tracker = await fakeTracker((res) => res.end(answer));
  const client = new TrackerClient({ trackers: [[tracker.url]], peerId: new Uint8Array(20), port: 9 });
  const swarms = new Swarms({ tracker: client, log: silentLogger, ...(now ? { now } : {}) });
  const events = () => tracker.asked.map(({ query }) => query.get("event"));
  return {
    tracker,
    swarms,
    events,
    async [Symbol.asyncDispose]() {
      await swarms.close();
      await client.close();
      await tracker[Symbol.asyncDispose]();
    },
  };
}

const whole = { left: () => 0, onAnswer: () => {} };

test("each is begun once, however often it is used, and left at the end", async () => {
  const { swarms, events, ...rest } = await setUp();
  await using _ = rest;
  await swarms.enter(name(1), whole);
  await swarms.enter(name(1), whole);
  assert.deepEqual(events(), ["started"]);
  await swarms.close();
  assert.deepEqual(events(), ["started", "stopped"]);
});

test("the trackers hear of the last piece", async () => {
  const { swarms, events, ...rest } = await setUp();
  await using _ = rest;
  let left = 5;
  await swarms.enter(name(1), { left: () => left, onAnswer: () => {} });
  left = 0;
  swarms.completed(name(1));
  await until(() => events().length === 2);
  assert.deepEqual(events(), ["started", "completed"]);
});

test("with too many the one used longest ago is left", async () => {
  const { swarms, events, ...rest } = await setUp();
  await using _ = rest;
  for (let index = 0; index < 65; index++) {
    await swarms.enter(name(index), whole);
    await swarms.enter(name(0), whole);
  }
  await until(() => events().includes("stopped"));
  assert.equal(swarms.names.length, 64);
  assert.equal(swarms.names.includes(name(0)), true);
  assert.equal(swarms.names.includes(name(1)), false);
});

test("one that nobody uses is left", async () => {
  let now = 0;
  const { swarms, events, ...rest } = await setUp({ now: () => now });
  await using _ = rest;
  await swarms.enter(name(1), whole);
  await swarms.enter(name(2), whole);
  now += 10 * 60_000;
  swarms.touch(name(2));
  now += 10 * 60_000;
  await until(() => events().includes("stopped"));
  assert.deepEqual(swarms.names, [name(2)]);
});

test("after the end nothing begins", async () => {
  const { swarms, events, ...rest } = await setUp();
  await using _ = rest;
  await swarms.close();
  await swarms.enter(name(1), whole);
  await turns();
  assert.deepEqual(events(), []);
});
