/**
 * @module
 * Tests of lent chunks: a buffer that is filled anew as soon as it comes back must never change what a client receives.
 */

import assert from "node:assert/strict";
import { connect as h2Connect } from "node:http2";
import type { Readable } from "node:stream";
import { describe, test } from "node:test";
import { HttpClient } from "./client.ts";
import { giveBack, lend } from "./lent-chunk.ts";
import { serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";

const CHUNK = 256 * 1024;
const CHUNKS = 40;

/** A body of CHUNKS chunks, each full of its own number, on buffers that are scribbled over when they come back. */
function lentBody(returned: { count: number }): ReadableStream<Uint8Array<ArrayBuffer>> {
  const free: Uint8Array<ArrayBuffer>[] = [];
  let n = 0;
  return new ReadableStream(
    {
      pull(controller) {
        const chunk = free.pop() ?? new Uint8Array(CHUNK);
        chunk.fill(n++);
        lend(chunk, () => {
          returned.count++;
          chunk.fill(0xee);
          free.push(chunk);
        });
        controller.enqueue(chunk);
        if (n === CHUNKS) {
          controller.close();
        }
      },
    },
    { highWaterMark: 0 },
  );
}

/** Reads with pauses, so that the sender's queues fill, and checks each byte. */
async function check(body: Readable): Promise<void> {
  let at = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    for (let i = 0; i < chunk.length; i++, at++) {
      if (chunk[i] !== Math.floor(at / CHUNK)) {
        assert.fail(`byte ${at} is ${chunk[i]}`);
      }
    }
    if (at % 7 === 0) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  assert.equal(at, CHUNK * CHUNKS);
}

for (const [name, tls] of [
  ["in clear", undefined],
  ["over TLS", testCertificate],
] as const) {
  describe(`lent chunks ${name}`, () => {
    for (const length of [true, false]) {
      test(`arrive unchanged over HTTP/1.1, ${length ? "with a length" : "chunked"}`, async () => {
        const returned = { count: 0 };
        await using listener = await serve({
          host: "127.0.0.1",
          port: 0,
          ...(tls ? { tls } : {}),
          fetch: () =>
            new Response(lentBody(returned), length ? { headers: { "content-length": String(CHUNK * CHUNKS) } } : {}),
        });
        const client = new HttpClient();
        await check((await client.request(new URL(listener.url), { ca: testCertificate.cert })).body);
        assert.ok(returned.count > 0);
        await client.close();
      });
    }

    test("arrive unchanged over HTTP/2", async () => {
      const returned = { count: 0 };
      await using listener = await serve({
        host: "127.0.0.1",
        port: 0,
        ...(tls ? { tls } : {}),
        fetch: () => new Response(lentBody(returned)),
      });
      const session = h2Connect(listener.url, { ca: testCertificate.cert });
      await Promise.all([check(session.request({ ":path": "/" })), check(session.request({ ":path": "/" }))]);
      assert.ok(returned.count > 0);
      session.close();
    });
  });
}

test("a chunk comes back once, and a plain one does not matter", () => {
  let count = 0;
  const chunk = lend(new Uint8Array(1), () => count++);
  giveBack(chunk);
  giveBack(chunk);
  giveBack(new Uint8Array(1));
  assert.equal(count, 1);
});
