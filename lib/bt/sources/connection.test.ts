/** @module Tests of the raw connection and its pool, against peers that answer with whatever bytes the test says. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { prng, until } from "../testing/blobs.ts";
import { rawPeer } from "../testing/raw-peer.ts";
import { Connector, PeerError, type PeerRequest } from "./connection.ts";
import { ConnectionPool } from "./connection-pool.ts";

function request(target: Uint8Array, changes: Partial<PeerRequest> = {}): PeerRequest {
  return {
    method: "GET",
    path: "/x",
    idleMs: 5000,
    accept: (head) => (head.status === 200 ? target.subarray(0, head.length) : undefined),
    ...changes,
  };
}

function isCode(...codes: string[]): (error: unknown) => boolean {
  return (error) => error instanceof PeerError && codes.includes(error.code);
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

test("a body lands in its place and the connection is used again", async () => {
  await using peer = await rawPeer((socket) => socket.write(hello));
  using pool = new ConnectionPool();
  for (let round = 0; round < 5; round++) {
    const target = new Uint8Array(5);
    const head = await pool.request(
      peer.endpoint,
      request(target, { method: "POST", body: Buffer.from("abc"), headers: { "X-A": "b" } }),
    );
    assert.equal(head.status, 200);
    assert.equal(Buffer.from(target).toString(), "hello");
  }
  assert.equal(peer.connections, 1);
  assert.match(
    peer.requests[0]!,
    /^POST \/x HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc$/,
  );
});

test("answers split anywhere arrive whole", async () => {
  const random = prng(51);
  const body = Buffer.from(Uint8Array.from({ length: 3000 }, () => random() * 256));
  await using peer = await rawPeer(async (socket) => {
    const bytes = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
    socket.setNoDelay(true);
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + Math.floor(random() * 800);
      socket.write(bytes.subarray(at, end));
      at = end;
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  using pool = new ConnectionPool();
  for (let round = 0; round < 10; round++) {
    const target = new Uint8Array(body.length);
    let told = 0;
    await pool.request(
      peer.endpoint,
      request(target, {
        onBytes: (received) => {
          told = received;
        },
      }),
    );
    assert.ok(body.equals(target));
    assert.equal(told, body.length);
  }
});

test("rubbish, cuts, silence and wrong lengths are PeerErrors, never a hang", async () => {
  const answers: [string, string[], ((socket: Socket) => void)?][] = [
    ["rubbish\r\n\r\n", ["protocol"]],
    ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", ["protocol"]],
    ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", ["protocol"]],
    ["HTTP/1.1 404 x\r\nContent-Length: 999999\r\n\r\n", ["protocol"]],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ["protocol"]],
    ["HTTP/1.1 200 OK\r\n\r\nhello", ["protocol"], (socket) => socket.end()],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", ["closed"], (socket) => socket.end()],
    ["HTTP/1.1 200 OK\r\nConte", ["closed"], (socket) => socket.end()],
    ["", ["closed"], (socket) => socket.destroy()],
    ["", ["timeout"]],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh", ["timeout"]],
    ["x".repeat(100_000), ["protocol"]],
  ];
  for (const [text, codes, then] of answers) {
    await using peer = await rawPeer((socket) => {
      socket.write(text);
      then?.(socket);
    });
    using pool = new ConnectionPool();
    const target = new Uint8Array(5);
    // The accepted target has 5 bytes whatever length the peer tells.
    const asked = request(target, { idleMs: 100, accept: (head) => (head.status === 200 ? target : undefined) });
    await assert.rejects(pool.request(peer.endpoint, asked), isCode(...codes), text.slice(0, 60));
  }
});

test("random bytes never crash or hang a connection", async () => {
  const random = prng(52);
  await using peer = await rawPeer((socket) => {
    const bytes = Buffer.from(hello);
    for (let flips = 0; flips < 1 + random() * 4; flips++) bytes[Math.floor(random() * bytes.length)] = random() * 256;
    socket.end(bytes.subarray(0, random() < 0.5 ? bytes.length : Math.floor(random() * bytes.length)));
  });
  using pool = new ConnectionPool();
  for (let round = 0; round < 150; round++) {
    const target = new Uint8Array(5);
    try {
      await pool.request(peer.endpoint, request(target, { idleMs: 1000, accept: () => target }));
    } catch (error) {
      assert.ok(error instanceof PeerError, String(error));
    }
  }
});

test("bytes nobody asked for end a kept connection, and the next request takes another", async () => {
  await using peer = await rawPeer((socket) => socket.write(`${hello}${hello}`));
  using pool = new ConnectionPool();
  for (let round = 0; round < 3; round++) {
    const target = new Uint8Array(5);
    await pool.request(peer.endpoint, request(target));
    assert.equal(Buffer.from(target).toString(), "hello");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(peer.connections, 3);
});

test("a kept connection that the peer closed meanwhile is replaced once, also in mid-request", async () => {
  await using peer = await rawPeer((socket, _, count) => {
    // Every second request on a connection meets a close.
    if (count === 2) socket.destroy();
    else socket.write(hello);
  });
  using pool = new ConnectionPool();
  for (let round = 0; round < 2; round++) await pool.request(peer.endpoint, request(new Uint8Array(5)));
  assert.equal(peer.requests.length, 3);
  assert.equal(peer.connections, 2);
});

test("errors thrown by accept() reject the request with their cause kept", async () => {
  await using peer = await rawPeer((socket) => socket.write(hello));
  using pool = new ConnectionPool();
  const reason = new Error("another piece");
  const accept = () => {
    throw reason;
  };
  await assert.rejects(
    pool.request(peer.endpoint, request(new Uint8Array(5), { accept })),
    (error) => error instanceof PeerError && error.cause === reason,
  );
  await pool.request(peer.endpoint, request(new Uint8Array(5)));
});

test("giving up closes the connection at once, before, while and after it is opened", async () => {
  await using peer = await rawPeer(() => {});
  using pool = new ConnectionPool();
  const early = AbortSignal.abort();
  await assert.rejects(pool.request(peer.endpoint, request(new Uint8Array(5), { signal: early })));
  const gone = new AbortController();
  const waiting = pool.request(peer.endpoint, request(new Uint8Array(5), { signal: gone.signal }));
  const rejected = assert.rejects(waiting);
  while (peer.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  gone.abort();
  await rejected;
  for (let turn = 0; turn < 500 && peer.open > 0; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(peer.open, 0, "no connection is left open");
});

test("where nothing more may be opened a request waits for its turn; giving it up ends that", async () => {
  await using peer = await rawPeer((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  let refusals = 3;
  const real = new Connector();
  const connector = {
    open: async (...args: Parameters<Connector["open"]>) => {
      if (refusals-- <= 0) return await real.open(...args);
      throw new PeerError("connect", "no", { cause: Object.assign(new Error("no"), { code: "EMFILE" }) });
    },
  } as Connector;
  using pool = new ConnectionPool({ connector });
  assert.equal((await pool.request(peer.endpoint, request(new Uint8Array(0)))).status, 200);
  refusals = Number.POSITIVE_INFINITY;
  const gone = new AbortController();
  const other = { ...peer.endpoint, host: "127.0.0.2" };
  const waiting = pool.request(other, request(new Uint8Array(0), { signal: gone.signal }));
  gone.abort(new PeerError("aborted", "given up"));
  await assert.rejects(waiting, isCode("aborted"));
});

test("nobody listens, nobody accepts: an error in time", async () => {
  const peer = await rawPeer(() => {});
  await peer[Symbol.asyncDispose]();
  using pool = new ConnectionPool({ connector: new Connector({ connectTimeoutMs: 500 }) });
  await assert.rejects(pool.request(peer.endpoint, request(new Uint8Array(5))), isCode("connect"));
});

test("the head of an answer and its bytes have bounds of their own, which are told", async () => {
  const told: string[] = [];
  const onTimeout = (bound: string) => void told.push(bound);
  using pool = new ConnectionPool({ connector: new Connector({ onTimeout }) });
  await using mute = await rawPeer(() => {});
  const asked = { ...request(new Uint8Array(5)), headMs: 50, idleMs: 5000 };
  await assert.rejects(pool.request(mute.endpoint, asked), isCode("timeout"));
  await using stalling = await rawPeer((socket) => socket.write(hello.slice(0, -2)));
  await assert.rejects(pool.request(stalling.endpoint, { ...asked, headMs: 5000, idleMs: 50 }), isCode("timeout"));
  assert.deepEqual(told, ["header", "idle"]);
});

test("a closed pool closes what it keeps and takes no more", async () => {
  await using peer = await rawPeer((socket) => socket.write(hello));
  const pool = new ConnectionPool();
  await Promise.all(Array.from({ length: 8 }, () => pool.request(peer.endpoint, request(new Uint8Array(5)))));
  pool[Symbol.dispose]();
  for (let turn = 0; turn < 500 && peer.open > 0; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(peer.open, 0);
  await assert.rejects(pool.request(peer.endpoint, request(new Uint8Array(5))), isCode("closed"));
});

test("unused connections close after a while, and not while they are used", async () => {
  await using peer = await rawPeer((socket) => socket.write(hello));
  using pool = new ConnectionPool({ idleMs: 600 });
  for (let round = 0; round < 12; round++) {
    await pool.request(peer.endpoint, request(new Uint8Array(5)));
    await new Promise((resolve) => setTimeout(resolve, 70));
  }
  assert.equal(peer.connections, 1);
  await Promise.all(Array.from({ length: 3 }, () => pool.request(peer.endpoint, request(new Uint8Array(5)))));
  assert.equal(peer.open, 3);
  await until(() => peer.open === 0);
  await pool.request(peer.endpoint, request(new Uint8Array(5)));
});

test("an answer that comes in drops is taken as long as it comes; a head in drops has its bound", async () => {
  const drop = async (socket: Socket, text: string) => {
    for (const letter of text) {
      socket.write(letter);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  };
  await using slow = await rawPeer(async (socket) => {
    socket.write(hello.slice(0, -5));
    await drop(socket, hello.slice(-5));
  });
  using pool = new ConnectionPool();
  await pool.request(slow.endpoint, request(new Uint8Array(5), { idleMs: 180 }));
  await using slower = await rawPeer((socket) => drop(socket, hello));
  await assert.rejects(
    pool.request(slower.endpoint, request(new Uint8Array(5), { headMs: 180, idleMs: 180 })),
    isCode("timeout"),
  );
});

test("each byte of a request's body arrives as it is", async () => {
  await using peer = await rawPeer((socket) => socket.write(hello));
  using pool = new ConnectionPool();
  const body = Uint8Array.from({ length: 100_000 }, (_, index) => index);
  await pool.request(
    peer.endpoint,
    request(new Uint8Array(5), { method: "POST", body: new Uint8Array(body.buffer, 3, 99_000) }),
  );
  const sent = Buffer.from(peer.requests[0]!.split("\r\n\r\n")[1]!, "latin1");
  assert.ok(sent.equals(Buffer.from(body.buffer, 3, 99_000)));
});
