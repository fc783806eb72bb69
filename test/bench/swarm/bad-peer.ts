/**
 * A peer that says it has a whole blob and then misbehaves: `bad-peer.ts lie|trickle TRACKER FILE DIGEST`.
 * `lie`: the right piece hash, wrong bytes. `trickle`: right bytes, 10 kB/s.
 * @module
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Bitfield } from "../../../lib/bt/bitfield.ts";
import { Layout } from "../../../lib/bt/layout.ts";
import { createPeerId } from "../../../lib/bt/peer-id.ts";
import { formatLine, HEADER } from "../../../lib/bt/wire-format.ts";
import { TrackerClient } from "../../../lib/tracker/client.ts";
import { swarmKey } from "../../../lib/tracker/keys.ts";

/** Bytes a second of a trickle, and how they are cut. */
const trickleRate = 10_000;
const trickleMs = 100;
const announceMs = 2000;

const [misdeed, tracker, path, digest] = process.argv.slice(2);
if (!(misdeed === "lie" || misdeed === "trickle") || !tracker || !path || !digest) {
  console.error("bad-peer.ts lie|trickle TRACKER FILE DIGEST");
  process.exit(2);
}
const file = openSync(path, "r");
const layout = new Layout(statSync(path).size);
let requests = 0;

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
server.listen(0, "0.0.0.0", () => announce().catch((error) => console.error(error)));
process.on("SIGTERM", () => {
  closeSync(file);
  process.exit(0);
});

async function announce(): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const client = new TrackerClient({ trackers: [[new URL(tracker!)]], peerId: createPeerId(), port });
  for (let round = 0; ; round++) {
    await client.announce(swarmKey(digest!), { left: 0, ...(round === 0 && { event: "started" }) });
    console.log(`announced; ${requests} requests so far`);
    await sleep(announceMs);
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? "";
  if (path.endsWith("/pieces")) {
    const bits = new Bitfield(layout.count);
    bits.addAll();
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.write(formatLine({ type: "have", bits }));
    return;
  }
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (range === null || request.method !== "GET") {
    response.writeHead(404, { "content-length": 0 }).end();
    return;
  }
  requests += 1;
  console.log(`${requests} requests so far`);
  const [start, end] = [Number(range[1]), Number(range[2]) + 1];
  const bytes = Buffer.alloc(end - start);
  readSync(file, bytes, 0, bytes.length, start);
  const sha1 = createHash("sha1").update(bytes).digest("hex");
  response.writeHead(206, {
    "content-type": "application/octet-stream",
    "content-length": bytes.length,
    "content-range": `bytes ${start}-${end - 1}/${layout.size}`,
    [HEADER.sha1]: sha1,
  });
  if (misdeed === "lie") {
    bytes[bytes.length >> 1]! ^= 1;
    response.end(bytes);
    return;
  }
  const step = (trickleRate * trickleMs) / 1000;
  for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
    response.write(bytes.subarray(at, at + step));
    await sleep(trickleMs);
  }
  response.end();
}
