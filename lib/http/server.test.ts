/**
 * @module
 * Tests of the listener: protocols, targets, bodies and handlers, in clear and over TLS.
 */

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { connect } from "node:http2";
import { describe, test } from "node:test";
import { HttpClient } from "./client.ts";
import { rawConnection } from "./raw-connection.ts";
import { type FetchHandler, type NodeHandler, type RequestEnv, serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

/** One HTTP/2 request on a connection of its own. */
async function h2Request(url: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  const session = connect(url, { ca: testCertificate.cert });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({ ":path": "/", ...headers }, { endStream: body === undefined });
      let answer: Record<string, string | string[] | undefined> = {};
      let text = "";
      stream.setEncoding("utf8");
      stream.on("response", (received) => {
        answer = received as typeof answer;
      });
      stream.on("data", (chunk: string) => {
        text += chunk;
      });
      stream.on("error", reject);
      stream.on("end", () => resolve({ status: Number(answer[":status"]), headers: answer, body: text }));
      if (body !== undefined) {
        stream.end(body);
      }
    });
  } finally {
    session.close();
  }
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const echo: FetchHandler = async (request, env) =>
  Response.json({
    method: request.method,
    url: request.url,
    env,
    body: await request.text(),
    header: request.headers.get("x-test"),
  });

for (const [name, tls] of [
  ["in clear", undefined],
  ["over TLS", testCertificate],
] as const) {
  describe(`one port ${name}`, () => {
    test("HTTP/1.1 with keep-alive and HTTP/2 at once", async () => {
      await using listener = await serve({ host: "127.0.0.1", port: 0, fetch: echo, ...(tls ? { tls } : {}) });
      const client = new HttpClient();
      const ports = new Set<number>();
      for (const text of ["one", "two"]) {
        const { status, body } = await client.request(new URL(`${listener.url}/a?b=%ff%41`), {
          method: "POST",
          headers: { "x-test": text },
          body: Buffer.from(text),
          ca: testCertificate.cert,
        });
        assert.equal(status, 200);
        const got = JSON.parse(await readAll(body));
        assert.equal(got.body, text);
        assert.equal(got.header, text);
        assert.equal(got.url, `${listener.url}/a?b=%ff%41`);
        assert.equal(got.env.target, "/a?b=%ff%41");
        assert.equal(got.env.secure, tls !== undefined);
        assert.equal(got.env.remoteAddress, "127.0.0.1");
        assert.equal(got.env.localPort, listener.port);
        ports.add(got.env.remotePort);
      }
      assert.equal(ports.size, 1, "both requests came over one connection");
      const answer = await h2Request(listener.url, { ":path": "/h2?x", ":method": "POST", "x-test": "2" }, "over h2");
      assert.equal(answer.status, 200);
      const got = JSON.parse(answer.body);
      assert.equal(got.url, `${listener.url}/h2?x`);
      assert.equal(got.body, "over h2");
      assert.equal(got.header, "2");
      assert.equal(got.env.remoteAddress, "127.0.0.1");
      assert.equal(got.env.secure, tls !== undefined);
      await client.close();
    });
  });
}

test("many requests at once on one HTTP/2 connection", async () => {
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (r) => new Response(new URL(r.url).pathname),
  });
  const session = connect(listener.url);
  const texts = await Promise.all(
    Array.from({ length: 50 }, (_, i) => readAll(session.request({ ":path": `/${i}` }).end())),
  );
  assert.deepEqual(
    texts,
    Array.from({ length: 50 }, (_, i) => `/${i}`),
  );
  session.close();
});

test("absolute-form targets give that URL", async () => {
  const seen: [string, string][] = [];
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (request, env) => {
      seen.push([request.url, env.target]);
      return new Response("ok");
    },
  });
  const raw = rawConnection(
    listener.port,
    "GET http://registry.example:5000/v2/?ns=a%2Fb HTTP/1.1\r\nHost: ignored\r\n\r\n",
  );
  await raw.until("ok");
  raw.socket.write("GET HTTP://UPPER.example/a HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n");
  assert.equal(await raw.closed, "end");
  assert.deepEqual(seen, [
    ["http://registry.example:5000/v2/?ns=a%2Fb", "http://registry.example:5000/v2/?ns=a%2Fb"],
    ["http://upper.example/a", "HTTP://UPPER.example/a"],
  ]);
});

test("binary escapes of an announce arrive as they were sent", async () => {
  let env: RequestEnv | undefined;
  let url = "";
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (request, e) => {
      env = e;
      url = request.url;
      return new Response("ok");
    },
  });
  const target = "/announce?info_hash=%00%FF%fe%20%2B+%26%3d~'()*!&peer_id=-EA0001-%c3%28";
  const raw = rawConnection(listener.port, `GET ${target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n`);
  await raw.closed;
  assert.equal(env?.target, target);
  assert.equal(new URL(url).pathname, "/announce");
  assert.ok(url.startsWith("http://t/announce?info_hash=%00%FF%fe%20%2B+%26%3d~"));
});

test("a target of two slashes stays a path of this host", async () => {
  await using listener = await serve({ host: "127.0.0.1", port: 0, fetch: (r) => new Response(r.url) });
  const raw = rawConnection(listener.port, "GET //evil.example/x HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n");
  await raw.closed;
  assert.match(raw.received, /http:\/\/me\/\/evil\.example\/x/);
});

test("the Node handler comes first and passes on with next()", async () => {
  const node: NodeHandler = (req, res, next) => {
    if (req.url === "/node") {
      res.statusCode = 202;
      res.end("node");
    } else {
      next();
    }
  };
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    node,
    fetch: async (r) => new Response(await r.text()),
  });
  const client = new HttpClient();
  const first = await client.request(new URL(`${listener.url}/node`));
  assert.equal(first.status, 202);
  assert.equal(await readAll(first.body), "node");
  const second = await client.request(new URL(`${listener.url}/else`), { method: "PUT", body: Buffer.from("body") });
  assert.equal(await readAll(second.body), "body");
  assert.equal((await h2Request(listener.url, { ":path": "/node" })).status, 202);
  assert.equal((await h2Request(listener.url, { ":path": "/else", ":method": "POST" }, "b2")).body, "b2");
  await client.close();
});

test("a Node handler over HTTP/2 can send trailers", async () => {
  const node: NodeHandler = (_req, res) => {
    res.setHeader("trailer", "grpc-status");
    (res as ServerResponse).write("data");
    res.addTrailers({ "grpc-status": "0" });
    res.end();
  };
  await using listener = await serve({ host: "127.0.0.1", port: 0, node, fetch: () => new Response() });
  const session = connect(listener.url);
  const stream = session.request({ ":path": "/" });
  const trailers = new Promise<Record<string, unknown>>((resolve) => stream.on("trailers", resolve));
  stream.resume();
  assert.equal((await trailers)["grpc-status"], "0");
  session.close();
});

test("a handler that throws gives 500, of either kind", async () => {
  const node: NodeHandler = (req, _res, next) => {
    if (req.url === "/node") {
      throw new Error("node");
    }
    next();
  };
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    node,
    fetch: () => {
      throw new Error("fetch");
    },
  });
  for (const path of ["/node", "/fetch"]) {
    const raw = rawConnection(listener.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 500 /);
    assert.equal((await h2Request(listener.url, { ":path": path })).status, 500);
  }
});

test("HEAD, 204 and 304 send no body and cancel it", async () => {
  let cancelled = 0;
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () =>
      new Response(
        new ReadableStream(
          {
            cancel() {
              cancelled++;
            },
          },
          { highWaterMark: 0 },
        ),
        { headers: { "content-length": "5" } },
      ),
  });
  const raw = rawConnection(listener.port, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  await raw.closed;
  assert.match(raw.received, /content-length: 5\r\n/i);
  assert.ok(raw.received.endsWith("\r\n\r\n"));
  assert.equal((await h2Request(listener.url, { ":method": "HEAD" })).headers["content-length"], "5");
  assert.equal(cancelled, 2);
});

test("short bodies get a Content-Length, declared ones keep theirs, several cookies stay several", async () => {
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (r) => {
      const headers = new Headers([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
      ]);
      if (r.url.endsWith("/declared")) {
        headers.set("content-length", "3");
      }
      return new Response("abc", { headers, status: 201, statusText: "Made" });
    },
  });
  for (const path of ["/declared", "/short"]) {
    const raw = rawConnection(listener.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    await raw.closed;
    assert.match(raw.received, /^HTTP\/1\.1 201 Made\r\n/);
    assert.match(raw.received, /content-length: 3\r\n/i);
    assert.match(raw.received, /set-cookie: a=1\r\nset-cookie: b=2\r\n/i);
    assert.ok(raw.received.endsWith("\r\n\r\nabc"));
  }
});

test("headers do not wait for a body that is still on its way", async () => {
  const { promise: go, resolve } = Promise.withResolvers<void>();
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await go;
            controller.enqueue(new TextEncoder().encode("late"));
            controller.close();
          },
        }),
        { headers: { "x-early": "1" } },
      ),
  });
  const raw = rawConnection(listener.port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const session = connect(listener.url);
  const stream = session.request({ ":path": "/" });
  await Promise.all([raw.until("x-early"), new Promise((done) => stream.once("response", done))]);
  resolve();
  await raw.until("late");
  assert.equal(await readAll(stream), "late");
  session.close();
});

test("a large upload and a large download arrive whole, at the reader's pace", async () => {
  const size = 8 * 1024 * 1024;
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (r) => (r.method === "POST" ? new Response(r.body) : new Response("?")),
  });
  const payload = Buffer.alloc(size, "abcdefg");
  const client = new HttpClient();
  const { body } = await client.request(new URL(listener.url), { method: "POST", body: payload });
  const back: Buffer[] = [];
  for await (const chunk of body) {
    back.push(chunk as Buffer);
  }
  assert.ok(Buffer.concat(back).equals(payload));
  await client.close();

  const session = connect(listener.url);
  const stream = session.request({ ":path": "/", ":method": "POST" });
  stream.end(payload);
  const back2: Buffer[] = [];
  for await (const chunk of stream) {
    back2.push(chunk as Buffer);
  }
  assert.ok(Buffer.concat(back2).equals(payload));
  session.close();
});

test("a body is not read before somebody wants it, nor beyond what the client takes", async () => {
  let pulled = 0;
  await using listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () =>
      new Response(
        new ReadableStream<Uint8Array>(
          {
            pull(controller) {
              pulled++;
              controller.enqueue(new Uint8Array(1024 * 1024));
            },
          },
          { highWaterMark: 0 },
        ),
      ),
  });
  const raw = rawConnection(listener.port);
  raw.socket.pause();
  raw.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  let last = -1;
  while (pulled !== last || pulled === 0) {
    last = pulled;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(pulled < 40, `pulled ${pulled} MiB for a client that reads nothing`);
  raw.socket.destroy();
});

test("an unread body does not spoil the next request", async () => {
  await using listener = await serve({ host: "127.0.0.1", port: 0, fetch: (r) => new Response(`<${r.method}>`) });
  const raw = rawConnection(listener.port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
  await raw.until("<POST>");
  raw.socket.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  await raw.closed;
  assert.match(raw.received, /<GET>/);
});

test("a port in use is refused, IPv6 is served", async (t) => {
  await using listener = await serve({ host: "127.0.0.1", port: 0, fetch: () => new Response("4") });
  await assert.rejects(serve({ host: "127.0.0.1", port: listener.port, fetch: () => new Response() }), {
    code: "EADDRINUSE",
  });
  let six: Awaited<ReturnType<typeof serve>>;
  try {
    six = await serve({ host: "::1", port: 0, fetch: (r) => new Response(r.url) });
  } catch {
    t.diagnostic("no IPv6 here");
    return;
  }
  const client = new HttpClient();
  const { body } = await client.request(new URL(`${six.url}/x`));
  assert.equal(await readAll(body), `http://[::1]:${six.port}/x`);
  await client.close();
  await six.close();
});
