/** @module Tests of answers that are read as they come, against peers that answer with whatever bytes the test says. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { prng, until } from "../testing/blobs.ts";
import { rawPeer } from "../testing/raw-peer.ts";
import { Connector, PeerError, type StreamRequest } from "./connection.ts";
import { ConnectionPool } from "./connection-pool.ts";

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

function streamed(changes: Partial<StreamRequest> = {}): { request: StreamRequest; text: () => string } {
  let text = "";
  const request: StreamRequest = {
    method: "GET",
    path: "/x",
    onHead: () => {},
    onBytes: (bytes, from, to) => {
      text += bytes.toString("latin1", from, to);
    },
    idleMs: 5000,
    signal: new AbortController().signal,
    ...changes,
  };
  return { request, text: () => text };
}

function isCode(...codes: string[]): (error: unknown) => boolean {
  return (error) => error instanceof PeerError && codes.includes(error.code);
}

test("chunked, with a length, or until the connection ends: the body comes whole", async () => {
  const answers: [string, string, ((socket: Socket) => void)?][] = [
    [`${CHUNKED}5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n`, "hello world"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "hello world"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""],
    ["HTTP/1.1 204 x\r\n\r\n", ""],
    ["HTTP/1.1 200 OK\r\n\r\nhello world", "hello world", (socket) => socket.end()],
    ["HTTP/1.0 200 OK\r\n\r\n", "", (socket) => socket.end()],
  ];
  for (const [text, expected, then] of answers) {
    await using peer = await rawPeer((socket) => {
      socket.write(text);
      then?.(socket);
    });
    using pool = new ConnectionPool();
    const asked = streamed();
    await pool.stream(peer.endpoint, asked.request);
    assert.equal(asked.text(), expected);
    await until(() => peer.open === 0);
  }
});

test("what came is told at once, however it is cut", async () => {
  const random = prng(71);
  const sockets: Socket[] = [];
  await using peer = await rawPeer((socket) => {
    socket.setNoDelay(true);
    sockets.push(socket);
    socket.write(CHUNKED);
  });
  using pool = new ConnectionPool();
  const asked = streamed();
  const done = pool.stream(peer.endpoint, asked.request);
  await until(() => sockets.length === 1);
  let sent = "";
  for (let round = 0; round < 20; round++) {
    const data = `line ${round}\n`.repeat(1 + random() * 5);
    const bytes = `${data.length.toString(16)}\r\n${data}\r\n`;
    const cut = Math.floor(random() * bytes.length);
    sockets[0]!.write(bytes.slice(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    sockets[0]!.write(bytes.slice(cut));
    sent += data;
    await until(() => asked.text() === sent);
  }
  sockets[0]!.write("0\r\n\r\n");
  await done;
});

test("rubbish, cuts and silence are PeerErrors, never a hang", async () => {
  const answers: [string, string[], ((socket: Socket) => void)?][] = [
    ["rubbish\r\n\r\n", ["protocol"]],
    [`${CHUNKED}x\r\n`, ["protocol"]],
    [`${CHUNKED}5\r\nhello!\r\n`, ["protocol"]],
    [`${CHUNKED}5\r\nhel`, ["closed"], (socket) => socket.end()],
    [`${CHUNKED}5\r\nhello\r\n`, ["closed"], (socket) => socket.end()],
    [`${CHUNKED}5\r\nhello\r\n`, ["timeout"]],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", ["closed"], (socket) => socket.end()],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", ["protocol"]],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ["protocol"]],
    ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ["protocol"]],
    ["HTTP/1.1 200 OK\r\n\r\nhel", ["closed"], (socket) => socket.resetAndDestroy()],
    ["", ["closed"], (socket) => socket.destroy()],
    ["", ["timeout"]],
    ["x".repeat(100_000), ["protocol"]],
  ];
  for (const [text, codes, then] of answers) {
    await using peer = await rawPeer((socket) => {
      socket.write(text, () => then?.(socket));
    });
    using pool = new ConnectionPool();
    const asked = streamed({ idleMs: 100 }).request;
    await assert.rejects(pool.stream(peer.endpoint, asked), isCode(...codes), text.slice(0, 80));
    await until(() => peer.open === 0);
  }
});

test("a refused head, and an error while bytes are taken, end it with their cause", async () => {
  await using peer = await rawPeer((socket) => socket.write(`${CHUNKED}5\r\nhello\r\n`));
  using pool = new ConnectionPool();
  const reason = new Error("not this one");
  const fail = () => {
    throw reason;
  };
  for (const changes of [{ onHead: fail }, { onBytes: fail }]) {
    await assert.rejects(
      pool.stream(peer.endpoint, streamed(changes).request),
      (error) => error instanceof PeerError && error.cause === reason,
    );
  }
  await until(() => peer.open === 0);
});

test("giving up closes its connection: while it is made, before an answer, and in the midst", async () => {
  await using peer = await rawPeer((socket, _, count) => count > 1 && socket.write(`${CHUNKED}5\r\nhello\r\n`));
  using pool = new ConnectionPool();
  const early = streamed({ signal: AbortSignal.abort() }).request;
  await assert.rejects(pool.stream(peer.endpoint, early), isCode("aborted"));
  for (let round = 1; round <= 2; round++) {
    const gone = new AbortController();
    const asked = streamed({ signal: gone.signal });
    const rejected = assert.rejects(pool.stream(peer.endpoint, asked.request), isCode("aborted"));
    await until(() => (round === 1 ? peer.requests.length === 1 : asked.text() === "hello"));
    gone.abort();
    await rejected;
    await until(() => peer.open === 0);
  }
});

test("it has a connection of its own, which ends with the pool", async () => {
  await using peer = await rawPeer((socket, text) =>
    socket.write(text.startsWith("GET /stream") ? `${CHUNKED}5\r\nhello\r\n` : "HTTP/1.1 204 x\r\n\r\n"),
  );
  const pool = new ConnectionPool();
  const plain = { method: "GET" as const, path: "/plain", idleMs: 5000, accept: () => undefined };
  await pool.request(peer.endpoint, plain);
  const asked = streamed({ path: "/stream" });
  const rejected = assert.rejects(pool.stream(peer.endpoint, asked.request), isCode("closed"));
  await until(() => asked.text() === "hello");
  for (let round = 0; round < 3; round++) await pool.request(peer.endpoint, plain);
  assert.equal(peer.connections, 2);
  pool[Symbol.dispose]();
  await rejected;
  await until(() => peer.open === 0);
  await assert.rejects(pool.stream(peer.endpoint, asked.request), isCode("closed"));
});

test("its head and its silences have their bounds, which are told", async () => {
  const told: string[] = [];
  using pool = new ConnectionPool({ connector: new Connector({ onTimeout: (bound) => void told.push(bound) }) });
  await using mute = await rawPeer(() => {});
  await assert.rejects(pool.stream(mute.endpoint, streamed({ headMs: 50 }).request), isCode("timeout"));
  await using lively = await rawPeer(async (socket) => {
    socket.write(CHUNKED);
    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.write("1\r\n\n\r\n");
    }
  });
  const asked = streamed({ headMs: 5000, idleMs: 200 });
  await assert.rejects(pool.stream(lively.endpoint, asked.request), isCode("timeout"));
  assert.equal(asked.text(), "\n".repeat(5));
  assert.deepEqual(told, ["header", "idle"]);
});
