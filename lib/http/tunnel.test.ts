/**
 * @module
 * Tests of CONNECT tunnels: both directions, half-close, refusals, timeouts.
 */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { describe, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { rawConnection } from "./raw-connection.ts";
import { serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";
import { createTunnelHandler, parseAuthority, type TunnelOptions } from "./tunnel.ts";

async function target(onConnection: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function proxy(options: Partial<TunnelOptions> = {}) {
  return serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () => new Response("not a tunnel"),
    tunnel: createTunnelHandler({ allow: () => true, ...options }),
  });
}

const CONNECT = (port: number, host = "127.0.0.1") =>
  `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;

describe("a tunnel", () => {
  test("carries bytes both ways, those sent with the request too", async () => {
    await using echo = await target((socket) => socket.pipe(socket));
    await using listener = await proxy();
    const raw = rawConnection(listener.port, `${CONNECT(echo.port)}early `);
    await raw.until("200");
    await raw.until("early ");
    raw.socket.write("late");
    await raw.until("early late");
    raw.socket.end();
    assert.equal(await raw.closed, "end");
    await listener.close({ graceMs: 60_000 });
  });

  test("lets one side finish while the other goes on", async () => {
    await using upper = await target((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString();
      });
      socket.on("end", () => {
        setTimeout(() => socket.end(text.toUpperCase()), 50);
      });
    });
    await using listener = await proxy();
    const raw = rawConnection(listener.port, CONNECT(upper.port));
    await raw.until("\r\n\r\n");
    raw.socket.end("half closed");
    assert.equal(await raw.closed, "end");
    assert.ok(raw.received.endsWith("HALF CLOSED"));
  });

  test("lets the target finish first", async () => {
    const got = Promise.withResolvers<string>();
    await using first = await target((socket) => {
      socket.end("bye");
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString();
      });
      socket.on("end", () => got.resolve(text));
    });
    await using listener = await proxy();
    const raw = rawConnection(listener.port, CONNECT(first.port));
    raw.socket.allowHalfOpen = true;
    await raw.until("bye");
    raw.socket.end("answer");
    assert.equal(await got.promise, "answer");
    await raw.closed;
  });

  test("carries more than the buffers hold, unchanged", async () => {
    const payload = Buffer.from(Uint8Array.from({ length: 4 * 1024 * 1024 }, (_, i) => (i * 31 + (i >> 8)) & 255));
    await using echo = await target((socket) => socket.pipe(socket));
    await using listener = await proxy();
    const raw = rawConnection(listener.port, CONNECT(echo.port));
    await raw.until("\r\n\r\n");
    raw.socket.end(payload);
    assert.equal(await raw.closed, "end");
    const body = raw.received.slice(raw.received.indexOf("\r\n\r\n") + 4);
    assert.ok(Buffer.from(body, "latin1").equals(payload));
  });

  test("works through a TLS listener", async () => {
    await using echo = await target((socket) => socket.pipe(socket));
    await using listener = await serve({
      host: "127.0.0.1",
      port: 0,
      tls: testCertificate,
      fetch: () => new Response(),
      tunnel: createTunnelHandler({ allow: () => true }),
    });
    const socket = tlsConnect({ port: listener.port, host: "127.0.0.1", ca: testCertificate.cert });
    socket.write(`${CONNECT(echo.port)}over tls`);
    let text = "";
    for await (const chunk of socket) {
      text += chunk;
      if (text.endsWith("over tls")) {
        break;
      }
    }
    assert.match(text, /^HTTP\/1\.1 200 /);
    socket.destroy();
    await listener.close({ graceMs: 100 });
  });

  test("is closed with its target, and cut when the listener's grace ends", async () => {
    const arrived = Promise.withResolvers<Socket>();
    await using upstream = await target((socket) => arrived.resolve(socket));
    await using listener = await proxy();
    const raw = rawConnection(listener.port, CONNECT(upstream.port));
    await raw.until("200");
    (await arrived.promise).resetAndDestroy();
    await raw.closed;
    const second = rawConnection(listener.port, CONNECT(upstream.port));
    await second.until("200");
    await listener.close({ graceMs: 100 });
    await second.closed;
  });

  test("that idles is closed", async () => {
    await using upstream = await target(() => {});
    await using listener = await proxy({ idleTimeoutMs: 200 });
    const raw = rawConnection(listener.port, CONNECT(upstream.port));
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 200 /);
  });
});

describe("no tunnel", () => {
  test("to a target that is not allowed", async () => {
    const asked: [string, number][] = [];
    await using listener = await proxy({
      allow: async (host, port) => {
        asked.push([host, port]);
        return false;
      },
    });
    const raw = rawConnection(listener.port, "CONNECT Registry.Example:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 403 /);
    assert.deepEqual(asked, [["registry.example", 443]]);
  });

  test("when the rule fails", async () => {
    await using listener = await proxy({ allow: () => Promise.reject(new Error("rule")) });
    const raw = rawConnection(listener.port, CONNECT(1));
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 403 /);
  });

  test("to a port where nobody listens", async () => {
    const gone = await target(() => {});
    await gone[Symbol.asyncDispose]();
    await using listener = await proxy();
    const raw = rawConnection(listener.port, CONNECT(gone.port));
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 502 /);
  });

  for (const authority of ["h", "h:", "h:0", "h:70000", "h:80/x", "u@h:80", "[::1:80", "http://h:80", ":80", "-:80"]) {
    test(`to ${JSON.stringify(authority)}`, async () => {
      assert.equal(parseAuthority(authority), undefined);
      await using listener = await proxy();
      const raw = rawConnection(listener.port, `CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await raw.closed;
      assert.match(raw.received, /^HTTP\/1\.1 400 /);
    });
  }
});

test("authorities", () => {
  assert.deepEqual(parseAuthority("Docker.IO:443"), { host: "docker.io", port: 443 });
  assert.deepEqual(parseAuthority("[::1]:8443"), { host: "::1", port: 8443 });
  assert.deepEqual(parseAuthority("a_b-c.d:1"), { host: "a_b-c.d", port: 1 });
});
