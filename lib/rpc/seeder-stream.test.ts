/**
 * @module
 * One stream: what ends it, and what a stop of this process must not be taken for.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { toMessage } from "./events.ts";
import { MetaInfo, MetaInfoEventSchema } from "./gen/metainfo/metainfo_pb.ts";
import type { BlobEvent } from "./meta-info.ts";
import { openSeederStream } from "./seeder-stream.ts";
import { testEvents, testUrl } from "./testing/seeders.ts";

const metainfo = new Uint8Array([100, 101]);

/** Opens a stream on a seeder inside this process. `ends` collects what onEnd was told. */
async function open(source: () => AsyncIterable<BlobEvent | undefined>, signal = new AbortController().signal) {
  const transport = createRouterTransport(({ service }) => {
    service(MetaInfo, {
      getMetaInfo: () => ({ metainfo }),
      async *streamMetaInfo() {
        // undefined: an event of a later version
        for await (const event of source()) yield create(MetaInfoEventSchema, event && toMessage(event));
      },
    });
  });
  const ends: unknown[] = [];
  const events = await openSeederStream({
    client: createClient(MetaInfo, transport),
    seeder: "s",
    url: testUrl,
    signal,
    deadlineMs: 2000,
    progressTimeoutMs: 2000,
    onEnd: (reason) => ends.push(reason),
  });
  return { events, ends };
}

test("events of later versions are passed over, and the end comes with the metainfo", async () => {
  const { events, ends } = await open(async function* () {
    yield undefined;
    yield* testEvents(metainfo);
    await new Promise(() => {}); // trailers that never come
  });
  const read: BlobEvent[] = [];
  for await (const event of events) read.push(event);
  assert.deepEqual(read, testEvents(metainfo));
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  while (ends.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(ends, [undefined]);
});

test("an end before the metainfo is a failure, told once", async () => {
  const { events, ends } = await open(async function* () {
    yield { type: "progress", bytes: 1 };
  });
  assert.equal((await events.next()).done, false);
  await assert.rejects(events.next(), { name: "MetaInfoError", code: "unavailable" });
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  assert.equal(ends.length, 1);
  await assert.rejects(
    open(async function* () {}),
    { code: "unavailable" },
  );
});

test("an abort while nobody reads ends the stream at once and is told at the next read", async () => {
  const controller = new AbortController();
  const { events, ends } = await open(async function* () {
    yield { type: "progress", bytes: 1 };
    await new Promise(() => {});
  }, controller.signal);
  const reason = new Error("left");
  controller.abort(reason);
  assert.deepEqual(ends, [reason]);
  await assert.rejects(events.next(), reason);
  assert.deepEqual(await events.next(), { done: true, value: undefined });
});

test("a reader that leaves ends the stream", async () => {
  const { events, ends } = await open(async function* () {
    for (let bytes = 0; ; bytes += 1) yield { type: "progress", bytes };
  });
  for await (const event of events) if (event.type === "progress" && event.bytes === 3) break;
  assert.deepEqual(ends, [undefined]);
});
