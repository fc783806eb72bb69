/**
 * @module What the wire costs a host that nobody asks by it: 5,000 cached blobs, and webtorrent is not even loaded.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Layout } from "../../lib/bt/layout.ts";
import { encodeMetainfo, infoHash, type Metainfo } from "../../lib/bt/metainfo.ts";
import { defaultRuntime, type EagleApp, startProxy, startTracker } from "../rig/eagle.ts";
import { sumOf } from "../rig/metrics-text.ts";
import { freePort } from "../rig/ports.ts";
import { Rig } from "../rig/rig.ts";
import { until } from "../rig/until.ts";

const blobs = 5000;
/** Of each blob; the files are sparse. */
const size = 64 * 1024 * 1024;
const idleMs = 20_000;

/** Only Node can be made to say what it loads. */
const tells = defaultRuntime() === "node";
/** Makes Node say when it loads webtorrent. */
const tellLoading = `import { registerHooks } from "node:module"; registerHooks({ load(url, context, next) {
  if (url.includes("/node_modules/webtorrent/index.js")) process.stderr.write("webtorrent is loaded\\n");
  return next(url, context); } });`;

describe("a proxy with 5,000 cached blobs", () => {
  test("idles the same with the wire on and off", async (t) => {
    const rig = await Rig.for(t);
    const tracker = await startTracker(rig);
    const off = await measure(rig, tracker, false);
    const on = await measure(rig, tracker, true);
    for (const { app, port, cpu, memory } of [off, on]) {
      t.diagnostic(`${app.name}: ${(cpu * 100).toFixed(2)} % CPU, ${Math.round(memory / 1e6)} MB, wire at ${port}`);
    }
    assert.ok(on.cpu < 0.01, `${on.cpu * 100} % CPU`);
    assert.ok(on.memory - off.memory < 50e6, `${on.memory - off.memory} bytes more`);
    assert.equal(await sumOfAnnounces(on.app), 0, "no announce for blobs that nobody asks for");
    assert.equal(await answers(off.port, Buffer.alloc(0)), "refused");
    assert.equal(await answers(on.port, shake(randomBytes(20))), "closed");
    assert.equal(on.app.process.output.includes("webtorrent is loaded"), false);
    assert.equal(off.app.process.output.includes("webtorrent is loaded"), false);

    // One blob is asked for: that is when it is loaded.
    const bytes = await answers(on.port, shake(on.infoHash));
    assert.ok(Buffer.isBuffer(bytes) && bytes.subarray(28, 48).equals(on.infoHash), "the same info hash comes back");
    assert.equal(on.app.process.output.includes("webtorrent is loaded"), tells);
    await until(async () => (await sumOfAnnounces(on.app)) === 1, { what: "the swarm that is used is announced" });
    t.diagnostic(`loaded: ${Math.round(on.app.process.memory().resident / 1e6)} MB`);
  });
});

async function measure(rig: Rig, tracker: EagleApp, bittorrent: boolean) {
  const name = `wire-${bittorrent ? "on" : "off"}`;
  const hash = await fill(rig.path(`${name}-data`));
  const port = await freePort();
  process.env.NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(tellLoading)}`;
  const app = await startProxy(rig, {
    name,
    trackers: [tracker.url],
    seeders: [],
    config: { clientCfg: { bittorrent, port, limitSize: "10T", minFree: "1M" } },
  }).finally(() => {
    delete process.env.NODE_OPTIONS;
  });
  assert.match(app.process.output, /"blobs":5000/);
  // The first heartbeat with all of it is over then.
  await sleep(5000);
  const cpuSeconds = async () => sumOf(await app.metrics(), "process_cpu_seconds_total");
  const before = await cpuSeconds();
  await sleep(idleMs);
  const cpu = ((await cpuSeconds()) - before) / (idleMs / 1000);
  return { app, port, cpu, memory: app.process.memory().resident, infoHash: hash };
}

/** A proxy's directory as an earlier process left it. @returns the info hash of one of the blobs. */
async function fill(directory: string): Promise<Buffer> {
  for (const part of ["data", "torrents", "partial"]) await mkdir(`${directory}/${part}`, { recursive: true });
  const layout = new Layout(size);
  const pieces = Buffer.alloc(layout.count * 20);
  let metainfo: Metainfo | undefined;
  for (let index = 0; index < blobs; index++) {
    const id = createHash("sha256").update(`idle ${index}`).digest("hex");
    pieces.writeUInt32BE(index);
    metainfo = { id, layout, pieces: Uint8Array.from(pieces) };
    await writeFile(`${directory}/torrents/${id}.torrent`, encodeMetainfo({ ...metainfo, isPublic: true }));
    const file = await open(`${directory}/data/${id}.layer`, "w");
    await file.truncate(size);
    await file.close();
  }
  return Buffer.from(infoHash(metainfo!));
}

function sumOfAnnounces(app: EagleApp): Promise<number> {
  return app.metrics().then((samples) => sumOf(samples, "eagle_announces"));
}

/** A handshake (BEP 3). */
function shake(infoHash: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from("\x13BitTorrent protocol", "latin1"), Buffer.alloc(8), infoHash, randomBytes(20)]);
}

/** What comes back at a port. */
function answers(port: number, bytes: Uint8Array): Promise<Buffer | "refused" | "closed"> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve("refused"));
    socket.once("close", () => resolve("closed"));
    socket.once("data", (data: Buffer) => {
      resolve(data);
      socket.destroy();
    });
    socket.once("connect", () => socket.write(bytes));
  });
}
