/**
 * Tests of hostile-origin.
 * @module
 */
import assert from "node:assert";
import net, { type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { parseDigest } from "./digest.ts";
import { RegistryError } from "./errors.ts";
import { OriginClient } from "./origin-client.ts";
import { collect } from "./testing/fake-registry.ts";

const digest = parseDigest(`sha256:${"cd".repeat(32)}`);
const long = "x".repeat(200_000);

/** Whole answers, as they go over the wire. */
const answers: readonly string[] = [
  "",
  "nonsense\r\n\r\n",
  "HTTP/1.1 999999 x\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
  `HTTP/1.1 200 OK\r\nX: ${long}\r\n\r\n`,
  "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
  "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999999999999999999/*\r\n\r\nabc",
  "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n--x\r\n",
  "HTTP/1.1 307 x\r\nLocation: \xff\xfe://\r\nContent-Length: 0\r\n\r\n",
  `HTTP/1.1 401 x\r\nWWW-Authenticate: ${'Bearer realm="\\'.repeat(500)}\r\nContent-Length: 0\r\n\r\n`,
  'HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm="file:///etc/passwd"\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm="javascript:1",Basic\r\nContent-Length: 0\r\n\r\n',
  "HTTP/1.1 401 x\r\nWWW-Authenticate: \xff\xe4=\x80\r\nContent-Length: 9\r\n\r\nshort",
  "HTTP/1.1 416 x\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n",
];

test("whatever an origin sends, the outcome is a RegistryError", async () => {
  let answer = "";
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => socket.end(Buffer.from(answer, "latin1")));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const http = new HttpClient();
  const client = new OriginClient({ http });
  const upstream = { name: base.host, base, credentials: { username: "u", password: "p" } };
  try {
    for (answer of answers) {
      const read = async () =>
        collect((await client.readBlob(upstream, "a", digest, { caller: { kind: "configured" }, end: 10 })).body);
      await assert.rejects(read(), RegistryError, JSON.stringify(answer.slice(0, 80)));
    }
  } finally {
    await http.close();
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});
