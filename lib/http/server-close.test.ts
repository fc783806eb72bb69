/**
 * @module
 * Tests of how a listener ends: what runs may finish, what idles goes, what lingers is cut.
 */

import assert from "node:assert/strict";
import { connect } from "node:http2";
import { describe, test } from "node:test";
import { HttpClient } from "./client.ts";
import { rawConnection } from "./raw-connection.ts";
import { serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/** A listener whose handler waits to be let go. */
async function held() {
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    async fetch() {
      started.resolve();
      await release.promise;
      return new Response("finished");
    },
  });
  return { listener, started: started.promise, release: release.resolve };
}

async function refused(port: number): Promise<boolean> {
  return (await rawConnection(port, GET).closed) === "reset";
}

describe("close", () => {
  test("is prompt when nothing runs, kept connections or not", async () => {
    const listener = await serve({ host: "127.0.0.1", port: 0, fetch: () => new Response("x") });
    const raw = rawConnection(listener.port, GET);
    const fresh = rawConnection(listener.port);
    const session = connect(listener.url);
    session.on("error", () => {});
    await new Promise((resolve) => session.once("connect", resolve));
    await raw.until("x");
    await listener.close({ graceMs: 60_000 });
    await Promise.all([
      raw.closed,
      fresh.closed,
      new Promise<void>((done) => (session.closed ? done() : session.once("close", () => done()))),
    ]);
    assert.ok(await refused(listener.port));
  });

  test("is prompt while TLS handshakes stand still and TLS connections are kept", async () => {
    const listener = await serve({ host: "127.0.0.1", port: 0, tls: testCertificate, fetch: () => new Response("x") });
    const silent = rawConnection(listener.port);
    await new Promise((resolve) => silent.socket.once("connect", resolve));
    const client = new HttpClient();
    const { body } = await client.request(new URL(listener.url), { ca: testCertificate.cert });
    body.resume();
    await new Promise((resolve) => body.once("end", resolve));
    await listener.close({ graceMs: 60_000 });
    await silent.closed;
    await client.close();
  });

  test("lets a running HTTP/1.1 request finish and ends its connection", async () => {
    const { listener, started, release } = await held();
    const raw = rawConnection(listener.port, GET);
    await started;
    const closing = listener.close({ graceMs: 60_000 });
    assert.ok(await refused(listener.port));
    release();
    await closing;
    await raw.closed;
    assert.match(raw.received, /connection: close\r\n/i);
    assert.ok(raw.received.endsWith("finished"));
  });

  test("lets a body that is being sent finish", async () => {
    const release = Promise.withResolvers<void>();
    const listener = await serve({
      host: "127.0.0.1",
      port: 0,
      fetch: () =>
        new Response(
          new ReadableStream(
            {
              async start(controller) {
                controller.enqueue(new TextEncoder().encode("first "));
                await release.promise;
                controller.enqueue(new TextEncoder().encode("second"));
                controller.close();
              },
            },
            { highWaterMark: 0 },
          ),
          { headers: { "content-length": "12" } },
        ),
    });
    const raw = rawConnection(listener.port, GET);
    await raw.until("first ");
    const closing = listener.close({ graceMs: 60_000 });
    release.resolve();
    await closing;
    await raw.closed;
    assert.ok(raw.received.endsWith("first second"));
  });

  test("lets a running HTTP/2 stream finish", async () => {
    const { listener, started, release } = await held();
    const session = connect(listener.url);
    session.on("error", () => {});
    const stream = session.request({ ":path": "/" });
    stream.setEncoding("utf8");
    let text = "";
    stream.on("data", (chunk: string) => {
      text += chunk;
    });
    const ended = new Promise((resolve) => stream.once("close", resolve));
    await started;
    const closing = listener.close({ graceMs: 60_000 });
    release();
    await ended;
    await closing;
    assert.equal(text, "finished");
  });

  test("cuts what is not finished after the grace, and tells its handler", async () => {
    const aborted = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    let running = 0;
    const listener = await serve({
      host: "127.0.0.1",
      port: 0,
      async fetch(request) {
        request.signal.addEventListener("abort", () => --running === 0 && aborted.resolve());
        if (++running === 2) {
          started.resolve();
        }
        await aborted.promise;
        return new Response();
      },
    });
    const raw = rawConnection(listener.port, GET);
    const session = connect(listener.url);
    session.on("error", () => {});
    session.request({ ":path": "/" }).on("error", () => {});
    await started.promise;
    await listener.close({ graceMs: 100 });
    await Promise.all([raw.closed, aborted.promise]);
    session.destroy();
  });

  test("may be called again, with a shorter grace", async () => {
    const { listener, started } = await held();
    const raw = rawConnection(listener.port, GET);
    await started;
    const first = listener.close({ graceMs: 60_000 });
    await listener.close({ graceMs: 0 });
    await first;
    await raw.closed;
    await listener.close();
  });
});
