/** @module Tests of the heartbeat's sending side: batches, sequence, resync, trackers that die. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type FakeAnswer, fakeTracker } from "./fake-tracker.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type HoldingsMessage, MAX_DIGESTS_PER_MESSAGE, parseHoldingsMessage } from "./holdings-message.ts";

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, "0")}`;
const json = (value: unknown): FakeAnswer => {
  return (res) => res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
};
const fine = json({ lease: 60, resync: false });
const read = (asked: readonly { body: string }[]): HoldingsMessage[] =>
  asked.map(({ body }) => parseHoldingsMessage(Buffer.from(body)));

function heartbeat(trackers: URL[], options: Partial<ConstructorParameters<typeof Heartbeat>[0]> = {}): Heartbeat {
  return new Heartbeat({
    trackers: [trackers],
    peerId: new Uint8Array(20).fill(200),
    port: 61006,
    zone: "z1",
    timeoutMs: 1000,
    ...options,
  });
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What a tracker that believes all messages knows. */
function state(messages: readonly HoldingsMessage[]): Set<string> {
  let held = new Set<string>();
  for (const message of messages) {
    if (message.full || message.stopped) held = new Set();
    for (const each of message.add) held.add(each);
    for (const each of message.remove) held.delete(each);
  }
  return held;
}

describe("Heartbeat", () => {
  test("tells everything first, then changes, then that it stops", async () => {
    await using tracker = await fakeTracker(fine);
    const beat = heartbeat([new URL("/announce", tracker.url)]);
    beat.add(digest(1));
    beat.add(digest(2));
    beat.start();
    await until(() => tracker.asked.length === 1);
    for (let n = 3; n < 50; n += 1) beat.add(digest(n));
    beat.remove(digest(1));
    beat.remove(digest(99));
    await until(() => tracker.asked.length === 2);
    await beat.stop();
    assert.ok(tracker.asked.every(({ method, target }) => method === "POST" && target === "/p2p/v1/holdings"));
    const [first, second, last] = read(tracker.asked);
    assert.deepEqual(first, {
      peer: "c8".repeat(20),
      port: 61006,
      zone: "z1",
      epoch: first?.epoch,
      lease: 60,
      seq: 1,
      add: [digest(1), digest(2)],
      remove: [],
      full: true,
    });
    assert.deepEqual([second?.seq, second?.add.length, second?.remove, second?.full], [2, 47, [digest(1)], undefined]);
    assert.deepEqual([last?.seq, last?.stopped, last?.epoch], [3, true, first?.epoch]);
    await beat.stop();
  });

  test("an idle host is heard again and again", async () => {
    await using tracker = await fakeTracker(fine);
    const beat = heartbeat([tracker.url], { intervalMs: 20 });
    beat.start();
    await until(() => tracker.asked.length >= 4);
    await beat.stop();
    assert.deepEqual(
      read(tracker.asked)
        .slice(0, 4)
        .map(({ seq, full }) => [seq, full]),
      [
        [1, true],
        [2, undefined],
        [3, undefined],
        [4, undefined],
      ],
    );
  });

  test("20,000 blobs go in batches", async () => {
    await using tracker = await fakeTracker(fine);
    const beat = heartbeat([tracker.url]);
    for (let n = 0; n < 20_001; n += 1) beat.add(digest(n));
    beat.start();
    await until(() => tracker.asked.length === 5);
    await beat.stop();
    const messages = read(tracker.asked.slice(0, 5));
    assert.deepEqual(
      messages.map(({ full, add }) => [full ?? false, add.length <= MAX_DIGESTS_PER_MESSAGE]),
      [true, false, false, false, false].map((first) => [first, true]),
    );
    assert.equal(state(messages).size, 20_001);
  });

  test("resync sends all again at once; a tracker that always wants it is not flooded", async () => {
    let forget = true;
    await using tracker = await fakeTracker((res, asked) => {
      json({ lease: 60, resync: forget })(res, asked);
      forget = false;
    });
    await using stubborn = await fakeTracker(json({ lease: 60, resync: true }));
    const beat = heartbeat([tracker.url, stubborn.url]);
    beat.add(digest(1));
    beat.start();
    await until(() => tracker.asked.length === 2 && stubborn.asked.length >= 3);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(stubborn.asked.length < 8, String(stubborn.asked.length));
    await beat.stop();
    const messages = read(tracker.asked);
    assert.deepEqual([messages[1]?.full, messages[1]?.add, messages[1]?.seq], [true, [digest(1)], 2]);
  });

  test("of two trackers one dies and comes back: both know the truth at last", async () => {
    await using steady = await fakeTracker(fine);
    const first = await fakeTracker(fine);
    const { port } = first;
    const beat = heartbeat([steady.url, first.url], { intervalMs: 100 });
    beat.add(digest(1));
    beat.start();
    await until(() => first.asked.length >= 1);
    await first[Symbol.asyncDispose]();
    beat.add(digest(2));
    beat.remove(digest(1));
    await until(() => state(read(steady.asked)).has(digest(2)));
    // Born again, it knows nobody: the first plain message is answered with resync.
    let known = false;
    await using second = await fakeTracker(
      (res, asked) => {
        const { full } = parseHoldingsMessage(Buffer.from(asked.body));
        known ||= full === true;
        json({ lease: 60, resync: !known })(res, asked);
      },
      { port },
    );
    await until(() => known && state(read(second.asked)).has(digest(2)));
    beat.add(digest(3));
    await until(() => [steady, second].every(({ asked }) => state(read(asked)).has(digest(3))));
    for (const { asked } of [steady, second]) {
      assert.deepEqual(state(read(asked)), new Set([digest(2), digest(3)]));
      const seqs = read(asked).map(({ seq }) => seq);
      assert.deepEqual(
        seqs,
        [...seqs].sort((a, b) => a - b),
      );
    }
    await beat.stop();
  });

  test("what a tracker missed while it failed is told when it answers again, within the bound of a message", async () => {
    let fail = true;
    await using tracker = await fakeTracker((res, asked) => {
      if (fail) res.writeHead(500).end("no");
      else fine(res, asked);
    });
    const beat = heartbeat([tracker.url]);
    beat.start();
    await until(() => tracker.asked.length >= 1);
    for (let n = 0; n < 12_000; n += 1) beat.add(digest(n));
    for (let n = 0; n < 4_000; n += 1) beat.remove(digest(n));
    fail = false;
    const before = tracker.asked.length;
    await until(() => state(read(tracker.asked.slice(before))).size === 8_000);
    await beat.stop();
  });

  test("another make of tracker is left alone", async () => {
    await using other = await fakeTracker((res) => res.writeHead(404).end());
    const beat = heartbeat([other.url], { intervalMs: 10 });
    beat.add(digest(1));
    beat.start();
    await until(() => other.asked.length === 1);
    beat.add(digest(2));
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.equal(other.asked.length, 1);
    await beat.stop();
  });

  test("stop is bounded with a mute tracker, and says nothing before a start", async () => {
    await using tracker = await fakeTracker(() => {});
    const beat = heartbeat([tracker.url]);
    beat.start();
    await until(() => tracker.asked.length === 1);
    await beat.stop();
    assert.equal(tracker.asked.length, 2);
    const unborn = heartbeat([tracker.url]);
    await unborn.stop();
    assert.equal(tracker.asked.length, 2);
  });
});
