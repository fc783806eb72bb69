/**
 * @module
 * Tests of what goes wrong: clients that leave or stall, bodies that fail, requests that are no requests.
 */

import assert from "node:assert/strict";
import { type ClientHttp2Stream, connect, constants } from "node:http2";
import { describe, test } from "node:test";
import { rawConnection } from "./raw-connection.ts";
import { type FetchHandler, type ServeOptions, serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

function start(fetch: FetchHandler, options: Partial<ServeOptions> = {}) {
  return serve({ host: "127.0.0.1", port: 0, fetch, ...options });
}

/** How an HTTP/2 stream ended: its error code, and whether a clean end was seen. */
function h2End(stream: ClientHttp2Stream): Promise<{ code: number; ended: boolean }> {
  return new Promise((resolve) => {
    let ended = false;
    stream.on("error", () => {});
    stream.on("end", () => {
      ended = true;
    });
    stream.on("close", () => resolve({ code: stream.rstCode ?? 0, ended: ended && stream.rstCode === 0 }));
    stream.resume();
  });
}

/** A body that is never finished, and what became of it. */
function endless() {
  const cancelled = Promise.withResolvers<unknown>();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        controller.enqueue(new Uint8Array(10).fill(65));
      },
      cancel: (reason) => cancelled.resolve(reason),
    },
    { highWaterMark: 0 },
  );
  return { body, cancelled: cancelled.promise };
}

describe("a client that leaves", () => {
  for (const [name, tls] of [
    ["in clear", undefined],
    ["over TLS", testCertificate],
  ] as const) {
    test(`aborts the signal and cancels the body, HTTP/2 ${name}`, async () => {
      const { body, cancelled } = endless();
      const aborted = Promise.withResolvers<void>();
      await using listener = await start(
        (request) => {
          request.signal.addEventListener("abort", () => aborted.resolve());
          return new Response(body);
        },
        tls ? { tls } : {},
      );
      const session = connect(listener.url, { ca: testCertificate.cert });
      const stream = session.request({ ":path": "/" });
      stream.on("error", () => {});
      stream.once("data", () => stream.close(constants.NGHTTP2_CANCEL));
      await Promise.all([aborted.promise, cancelled]);
      session.close();
    });
  }

  test("aborts the signal and cancels the body, HTTP/1.1", async () => {
    const { body, cancelled } = endless();
    const aborted = Promise.withResolvers<void>();
    await using listener = await start((request) => {
      request.signal.addEventListener("abort", () => aborted.resolve());
      return new Response(body);
    });
    const raw = rawConnection(listener.port, GET);
    await raw.until("AAAA");
    raw.socket.destroy();
    await Promise.all([aborted.promise, cancelled]);
  });

  test("aborts the signal while the handler is thinking", async () => {
    const started = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    await using listener = await start(async (request) => {
      request.signal.addEventListener("abort", () => aborted.resolve());
      started.resolve();
      await aborted.promise;
      throw request.signal.reason;
    });
    const raw = rawConnection(listener.port, GET);
    await started.promise;
    raw.socket.destroy();
    await aborted.promise;
  });

  test("fails the read of its body", async () => {
    const failed = Promise.withResolvers<unknown>();
    await using listener = await start(async (request) => {
      await request.text().catch(failed.resolve);
      return new Response("never seen");
    });
    const raw = rawConnection(listener.port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    await new Promise((resolve) => setTimeout(resolve, 50));
    raw.socket.destroy();
    assert.ok((await failed.promise) instanceof Error);
  });

  test("does not abort a signal whose answer was whole", async () => {
    let signal: AbortSignal | undefined;
    await using listener = await start((request) => {
      signal = request.signal;
      return new Response("done");
    });
    const raw = rawConnection(listener.port, GET);
    await raw.until("done");
    raw.socket.destroy();
    await raw.closed;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(signal?.aborted, false);
  });

  test("pipelined requests are all told when their client leaves", async () => {
    let running = 0;
    const allAborted = Promise.withResolvers<void>();
    const allStarted = Promise.withResolvers<void>();
    await using listener = await start(async (request) => {
      if (++running === 3) {
        allStarted.resolve();
      }
      await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
      if (--running === 0) {
        allAborted.resolve();
      }
      return new Response();
    });
    const raw = rawConnection(listener.port, GET + GET + GET);
    await allStarted.promise;
    raw.socket.destroy();
    await allAborted.promise;
  });
});

describe("a body that fails", () => {
  const failing =
    (headers: Record<string, string> = {}): FetchHandler =>
    () => {
      let pulls = 0;
      return new Response(
        new ReadableStream({
          pull(controller) {
            if (pulls++ === 0) {
              controller.enqueue(new TextEncoder().encode("partial"));
            } else {
              throw new Error("the source broke");
            }
          },
        }),
        { headers },
      );
    };

  for (const [name, request, headers] of [
    ["chunked", GET, {}],
    ["with a length", GET, { "content-length": "100" }],
    ["delimited by close", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", {}],
  ] as const) {
    test(`resets the connection, ${name}`, async () => {
      await using listener = await start(failing(headers));
      const raw = rawConnection(listener.port, request);
      assert.equal(await raw.closed, "reset");
      assert.ok(!raw.received.endsWith("0\r\n\r\n"));
    });
  }

  test("resets the stream, HTTP/2, and leaves the others alone", async () => {
    await using listener = await start((request, env) =>
      request.url.endsWith("/bad") ? failing()(request, env) : new Response("good"),
    );
    const session = connect(listener.url);
    const bad = await h2End(session.request({ ":path": "/bad" }));
    assert.notEqual(bad.code, 0);
    assert.equal(bad.ended, false);
    const good = await h2End(session.request({ ":path": "/good" }));
    assert.deepEqual(good, { code: 0, ended: true });
    session.close();
  });

  test("at its first byte resets as well", async () => {
    await using listener = await start(
      () =>
        new Response(
          new ReadableStream({
            pull() {
              throw new Error("at once");
            },
          }),
        ),
    );
    assert.equal(await rawConnection(listener.port, GET).closed, "reset");
  });

  for (const [name, length] of [
    ["shorter", "100"],
    ["longer", "2"],
  ] as const) {
    test(`is one that is ${name} than its Content-Length`, async () => {
      await using listener = await start(() => new Response("seven77", { headers: { "content-length": length } }));
      const raw = rawConnection(listener.port, GET);
      assert.equal(await raw.closed, "reset");
      const session = connect(listener.url);
      const end = await h2End(session.request({ ":path": "/" }));
      assert.equal(end.ended, false);
      session.destroy();
    });
  }
});

describe("a client that stalls", () => {
  const big: FetchHandler = () =>
    new Response(
      new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            controller.enqueue(new Uint8Array(1024 * 1024));
          },
        },
        { highWaterMark: 0 },
      ),
    );

  test("in reading a response is reset, HTTP/1.1", async () => {
    const aborted = Promise.withResolvers<void>();
    await using listener = await start(
      (request, env) => {
        request.signal.addEventListener("abort", () => aborted.resolve());
        return big(request, env);
      },
      { sendTimeoutMs: 300 },
    );
    const raw = rawConnection(listener.port, GET);
    raw.socket.pause();
    await aborted.promise;
    raw.socket.destroy();
  });

  test("in reading a response is reset, HTTP/2", async () => {
    const aborted = Promise.withResolvers<void>();
    await using listener = await start(
      (request, env) => {
        request.signal.addEventListener("abort", () => aborted.resolve());
        return big(request, env);
      },
      { sendTimeoutMs: 300 },
    );
    const session = connect(listener.url);
    session.on("error", () => {});
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.pause();
    await aborted.promise;
    session.destroy();
  });

  for (const version of ["HTTP/1.1", "HTTP/2"]) {
    test(`in sending its body is reset, ${version}`, async () => {
      const failed = Promise.withResolvers<unknown>();
      await using listener = await start(
        async (request) => {
          await request.text().catch(failed.resolve);
          return new Response();
        },
        { sendTimeoutMs: 300 },
      );
      if (version === "HTTP/1.1") {
        const raw = rawConnection(listener.port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
        assert.ok((await failed.promise) instanceof Error);
        await raw.closed;
      } else {
        const session = connect(listener.url);
        const stream = session.request({ ":path": "/", ":method": "POST" });
        stream.on("error", () => {});
        stream.write("half");
        assert.ok((await failed.promise) instanceof Error);
        session.destroy();
      }
    });
  }

  test("is not one whose handler takes its time", async () => {
    await using listener = await start(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 700));
        return new Response("worth it");
      },
      { sendTimeoutMs: 200 },
    );
    const raw = rawConnection(listener.port, GET);
    await raw.until("worth it");
    raw.socket.destroy();
    const session = connect(listener.url);
    assert.deepEqual(await h2End(session.request({ ":path": "/" })), { code: 0, ended: true });
    session.close();
  });

  test("before its first byte, or within its head, is closed", async () => {
    await using listener = await start(() => new Response(), { headersTimeoutMs: 300 });
    const silent = rawConnection(listener.port);
    const half = rawConnection(listener.port, "PR");
    const slow = rawConnection(listener.port, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    await Promise.all([silent.closed, half.closed, slow.closed]);
    assert.equal(silent.received, "");
    assert.match(slow.received, /^(HTTP\/1\.1 408 |$)/);
  });

  test("without a request is closed after the idle time", async () => {
    await using listener = await start(() => new Response("x"), { idleTimeoutMs: 300 });
    const raw = rawConnection(listener.port, GET);
    const session = connect(listener.url);
    const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
    await Promise.all([raw.closed, closed]);
    assert.match(raw.received, /^HTTP\/1\.1 200 /);
  });
});

describe("what is no request", () => {
  const statusOf = (text: string) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]);

  for (const [name, text, status] of [
    ["garbage", "GARBAGE\r\n\r\n", 400],
    ["binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
    ["a wrong version", "GET / HTTP/9.9\r\nHost: h\r\n\r\n", 400],
    ["a space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: h/evil\r\n\r\n", 400],
    ["a Host with a user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400],
    ["a Host that is no host", "GET / HTTP/1.1\r\nHost: h:port\r\n\r\n", 400],
    ["an absolute target with a user", "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
    ["an absolute target without a host", "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", 400],
    ["an absolute target of another scheme", "GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n", 400],
    ["a header without a name", "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400],
    ["two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400],
    [
      "length and chunked",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      400,
    ],
    ["TRACE", "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405],
    ["CONNECT without a tunnel", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405],
    ["a head that is too large", `GET / HTTP/1.1\r\nHost: h\r\nX: ${"a".repeat(40_000)}\r\n\r\n`, 431],
    ["a target that is too large", `GET /${"a".repeat(40_000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 431],
    ["an empty absolute host", "GET http://?x HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ] as const) {
    test(`${name} gives ${status}`, async () => {
      let called = 0;
      await using listener = await start(() => {
        called++;
        return new Response();
      });
      const raw = rawConnection(listener.port, text);
      await raw.until("\r\n\r\n");
      assert.equal(statusOf(raw.received), status);
      assert.equal(called, 0);
      raw.socket.destroy();
    });
  }

  test("an HTTP/2 head that is too large gives 431 or a refused stream", async () => {
    let called = 0;
    await using listener = await start(() => {
      called++;
      return new Response();
    });
    const session = connect(listener.url);
    session.on("error", () => {});
    const stream = session.request({ ":path": "/", "x-long": "a".repeat(40_000) });
    const status = new Promise<number>((resolve) => {
      stream.on("response", (headers) => resolve(Number(headers[":status"])));
      stream.on("error", () => {});
      stream.on("close", () => resolve(0));
    });
    assert.ok([0, 431].includes(await status));
    assert.equal(called, 0);
    session.destroy();
  });

  test("a broken HTTP/2 connection harms nobody else", async () => {
    await using listener = await start(() => new Response("fine"));
    const raw = rawConnection(listener.port, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(200)}`);
    await raw.closed;
    const wrong = rawConnection(listener.port, `PRINT / HTTP/1.1\r\n\r\n${"\xff".repeat(200)}`);
    await wrong.closed;
    const next = rawConnection(listener.port, GET);
    await next.until("fine");
    next.socket.destroy();
  });

  test("the preface may come in pieces", async () => {
    await using listener = await start(() => new Response("fine"));
    const raw = rawConnection(listener.port, "P");
    raw.socket.setNoDelay(true);
    for (const piece of ["R", "I * HTTP/2.0\r\n\r\nS", "M\r\n\r\n", "\0\0\0\x04\0\0\0\0\0"]) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      raw.socket.write(piece, "latin1");
    }
    await raw.until("\x04");
    raw.socket.destroy();
    const h1 = rawConnection(listener.port, "P");
    h1.socket.setNoDelay(true);
    await new Promise((resolve) => setTimeout(resolve, 30));
    h1.socket.write("UT / HTTP/1.1\r\nHost: h\r\n\r\n");
    await h1.until("fine");
    h1.socket.destroy();
  });

  test("an upgrade is ignored", async () => {
    await using listener = await start(() => new Response("plain"));
    const raw = rawConnection(
      listener.port,
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    await raw.until("plain");
    assert.match(raw.received, /^HTTP\/1\.1 200 /);
    raw.socket.destroy();
  });

  test("TLS ports survive clear text, clear ports TLS", async () => {
    await using listener = await start(() => new Response("ok"), { tls: testCertificate });
    await rawConnection(listener.port, GET).closed;
    const session = connect(listener.url, { ca: testCertificate.cert });
    assert.deepEqual(await h2End(session.request({ ":path": "/" })), { code: 0, ended: true });
    session.close();
  });

  test("random bytes never end the process", async () => {
    await using listener = await start(() => new Response("alive"));
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    const starts = [
      "",
      "GET / HTTP/1.1\r\nHost: h\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for (let round = 0; round < 60; round++) {
      const noise = Array.from({ length: 1 + Math.floor(random() * 200) }, () =>
        String.fromCharCode(Math.floor(random() * 256)),
      ).join("");
      const raw = rawConnection(listener.port, (starts[round % starts.length] ?? "") + noise);
      await new Promise((resolve) => setTimeout(resolve, 3));
      raw.socket.destroy();
    }
    const raw = rawConnection(listener.port, GET);
    await raw.until("alive");
    raw.socket.destroy();
  });
});
