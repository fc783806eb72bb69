/**
 * `npm run bench:cache`: what a host's cache costs that keeps very many blobs: memory an entry, time an eviction, time
 * of a start. No blob's bytes are written: sizes are told, files are sparse.
 * @module
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BlobStore } from "../../lib/bt/blob-store.ts";
import { Layout } from "../../lib/bt/layout.ts";
import { encodeMetainfo } from "../../lib/bt/metainfo.ts";
import { BlobCache, type Cacheable, type LoadEntry } from "../../lib/cache/index.ts";
import { silentLogger } from "../../lib/log/log.ts";
import { createMetrics } from "../../lib/metrics/metrics.ts";
import { FsStorage } from "../../lib/storage/index.ts";
import { Heartbeat } from "../../lib/tracker/heartbeat.ts";
import { describeMachine } from "./machine.ts";
import { formatTable } from "./table.ts";

const usage = `npm run bench:cache -- [--blobs 1000000] [--files 10000] [--dir PATH]
  --blobs N    in memory (default 1000000); evictions are timed among a hundredth of them and among all
  --files N    on the disk at a start (default 10000), sparse, a terabyte together
  --dir PATH   where the files go (default: the system's directory for temporary files)
`;

await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean", default: false },
      blobs: { type: "string", default: "1000000" },
      files: { type: "string", default: "10000" },
      dir: { type: "string", default: tmpdir() },
    },
  });
  if (values.help) return console.log(usage);
  const [blobs, files] = [wholeNumber("--blobs", values.blobs), wholeNumber("--files", values.files)];
  console.log(describeMachine("node"));
  console.log(`\nMemory of ${blobs} blobs, bytes an entry (under 1024 is wanted)`);
  console.log(formatTable(["what is kept", "bytes"], await memory(blobs)));
  console.log("\nAn eviction, by how many blobs there are (the same is wanted)");
  console.log(formatTable(["blobs", "evictions", "µs each"], [await evictions(blobs / 100), await evictions(blobs)]));
  console.log("\nA start over blobs on the disk (under 2 s for 10000 is wanted)");
  const { dir } = values;
  const rows = [await starts({ files, dir, total: 2 ** 30 }), await starts({ files, dir, total: 2 ** 40 })];
  console.log(formatTable(["blobs", "GiB together", "ms"], rows));
}

function wholeNumber(flag: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 100) throw new Error(`${flag} ${text}: a whole number from 100 is wanted`);
  return count;
}

function newId(): string {
  return randomBytes(32).toString("hex");
}

async function* listing(count: number, size: number): AsyncGenerator<LoadEntry> {
  const now = Date.now();
  for (let index = 0; index < count; index++) yield { id: newId(), size, modifiedMs: now - (count - index) * 1000.5 };
}

function emptyCache(limitSize: number, onEvict: () => void = () => {}): BlobCache<Cacheable> {
  return new BlobCache<Cacheable>({
    limitSize,
    minFree: () => 0,
    freeSpace: async () => ({ free: 2 ** 50, total: 2 ** 50 }),
    open: () => Promise.reject(new Error("nothing is opened here")),
    remove: async () => {},
    touch: async () => {},
    onEvict,
    checkIntervalMs: 0,
  });
}

/** Bytes of the heap that are in use. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

async function memory(count: number): Promise<string[][]> {
  const before = heap();
  const cache = emptyCache(Number.MAX_SAFE_INTEGER);
  await cache.load(listing(count, 3 * 2 ** 30));
  const cached = heap();
  const heartbeat = new Heartbeat({
    trackers: [[new URL("http://127.0.0.1:1/announce")]],
    peerId: new Uint8Array(20),
    port: 1,
  });
  const offered = new Map<string, boolean>();
  for (const id of cache.ids()) {
    offered.set(id, true);
    heartbeat.add(`sha256:${id}`);
  }
  const told = heap();
  const rows = [
    ["the cache's entries, in order of use", Math.round((cached - before) / count)],
    ["what is told to a tracker", Math.round((told - cached) / count)],
    ["together", Math.round((told - before) / count)],
  ].map((row) => row.map(String));
  // In use until here.
  if (cache.count !== count || offered.size !== count) throw new Error("not all entries were kept");
  await heartbeat.stop();
  await cache.close();
  return rows;
}

async function evictions(count: number): Promise<string[]> {
  let evicted = 0;
  const cache = emptyCache(count, () => {
    evicted++;
  });
  await cache.load(listing(count, 1));
  const times = 20_000;
  const began = performance.now();
  for (let index = 0; index < times; index++) {
    const blob = { size: 1, done: Promise.resolve(1), async close() {}, abandon() {} };
    (await cache.acquire(newId(), async () => blob)).release();
  }
  const ms = performance.now() - began;
  if (evicted !== times) throw new Error(`${evicted} evictions, not ${times}`);
  await cache.close();
  return [String(count), String(times), ((ms / times) * 1000).toFixed(1)];
}

async function starts({ files, total, dir }: { files: number; total: number; dir: string }): Promise<string[]> {
  const rootDirectory = await mkdtemp(join(dir, "eagle-bench-"));
  try {
    const size = Math.floor(total / files);
    await prepare(rootDirectory, { files, size });
    const store = new BlobStore({
      storage: await FsStorage.open({ rootDirectory }),
      limitSize: 2 * total,
      minFree: () => 0,
      log: silentLogger,
      metrics: createMetrics("seeder"),
    });
    const began = performance.now();
    await store.start();
    const ms = performance.now() - began;
    if ([...store.offered()].length !== files) throw new Error("not all blobs were taken over");
    await store[Symbol.asyncDispose]();
    return [String(files), (total / 2 ** 30).toFixed(0), ms.toFixed(0)];
  } finally {
    await rm(rootDirectory, { recursive: true, force: true });
  }
}

async function prepare(rootDirectory: string, { files, size }: { files: number; size: number }): Promise<void> {
  const storage = await FsStorage.open({ rootDirectory });
  const layout = new Layout(size);
  const pieces = randomBytes(layout.count * 20);
  for (let index = 0; index < files; index++) {
    const id = newId();
    await writeFile(storage.getFilePath(id), "");
    await truncate(storage.getFilePath(id), size);
    await writeFile(storage.getTorrentFilePath(id), encodeMetainfo({ id, layout, pieces, isPublic: true }));
  }
  await storage.close();
}
