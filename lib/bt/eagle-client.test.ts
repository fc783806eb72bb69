/** @module Tests of fetches, with seeders, trackers and origins that behave as the test says. */
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { HttpClient } from "../http/client.ts";
import { serve } from "../http/server.ts";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { RegistryError } from "../registry/errors.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import { FsStorage } from "../storage/index.ts";
import type { PeerAddress, TrackerClient } from "../tracker/client.ts";
import { BanList } from "./ban-list.ts";
import { BlobStore } from "./blob-store.ts";
import { BufferPool } from "./buffer-pool.ts";
import { Descriptor } from "./descriptor.ts";
import { EagleClient } from "./eagle-client.ts";
import { BlobError } from "./errors.ts";
import type { FetchContext, FetchRequest } from "./fetch.ts";
import { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo } from "./metainfo.ts";
import type { Origin } from "./origin-fill.ts";
import { peerRoutes } from "./peer-routes.ts";
import { CHUNK } from "./piece-source.ts";
import { ConnectionPool } from "./sources/connection-pool.ts";
import { arriving, type TestBlob, tempDir, testBlob, until } from "./testing/blobs.ts";
import { timeBounds } from "./time-bounds.ts";
import { Uploader } from "./uploader.ts";

const blob = testBlob(2_300_000);

/** An origin that gives these bytes, or this error. */
function originOf(answer: Uint8Array | RegistryError): Origin & { reads: number } {
  const origin = {
    name: "origin",
    reads: 0,
    async read({ start = 0, end }: { start?: number; end?: number }) {
      origin.reads++;
      if (answer instanceof Error) throw answer;
      const part = answer.subarray(start, end);
      return {
        size: answer.length,
        ranged: true,
        close() {},
        body: (async function* () {
          for (let at = 0; at < part.length; at += 300_000) yield part.subarray(at, at + 300_000);
        })(),
      };
    },
  };
  return origin;
}

const down = () => originOf(new RegistryError("unavailable", "no connection"));

/** Another host that has a blob, or what it takes for it. */
async function peerWith(
  path: string,
  of: TestBlob,
  {
    isPublic = true,
    cluster = new ClusterAuth(),
    commit,
    before = async () => {},
    after = (response) => response,
  }: {
    isPublic?: boolean;
    cluster?: ClusterAuth;
    /** Stores it; not waited for here. @default at once */
    commit?: () => Promise<void>;
    /** Waited for before an answer. */
    before?: () => Promise<void>;
    /** What becomes of an answer. */
    after?: (response: Response) => Response | Promise<Response>;
  } = {},
) {
  await mkdir(path, { recursive: true });
  const live = await arriving(of, path, { ...(commit && { commit }) });
  for (let piece = 0; piece < of.layout.count; piece++) await live.store(piece, of.piece(piece), "origin");
  await live.waitFor(() => live.verified);
  live.isPublic = isPublic;
  const uploader = new Uploader();
  const askers = new Set<string | undefined>();
  const app = peerRoutes({
    blobs: { peek: async () => ({ blob: live, source: "cache", release() {}, [Symbol.dispose]() {} }) },
    uploader: {
      next(target, query) {
        askers.add(query.asker);
        return uploader.next(target, query);
      },
    },
    cluster,
    limiter: new RateLimiter(0),
    buffers: new BufferPool(CHUNK),
  });
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: async (request, env) => {
      await before();
      return await after(await app.fetch(request, env));
    },
  });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= listener.close({ graceMs: 0 });
    return closing;
  };
  return {
    address: { host: "127.0.0.1", port: listener.port } satisfies PeerAddress,
    url: new URL(listener.url),
    /** Who asked for a piece of its choice. */
    askers,
    /** It is killed. */
    close,
    async [Symbol.asyncDispose]() {
      await close();
      await live.close();
    },
  };
}

interface SeederInit {
  readonly url?: URL;
  events(): AsyncIterable<BlobEvent>;
}

interface HostInit {
  /** What a seeder tells; what it throws is its answer. */
  readonly seeder?: SeederInit;
  /** The one that is asked for the nth time, from 0, with those to leave out if there are others; or it throws. */
  readonly seeders?: (nth: number, avoid: readonly string[]) => SeederInit;
  readonly peers?: readonly PeerAddress[];
  readonly maxSize?: number;
  readonly cluster?: ClusterAuth;
  /** Seconds. @default 5 */
  readonly firstByteTimeout?: number;
}

/** An EagleClient in a directory. */
async function hostOf(
  path: string,
  {
    seeder,
    seeders = seeder && (() => seeder),
    peers,
    maxSize = 100_000_000,
    cluster,
    firstByteTimeout = 5,
  }: HostInit = {},
) {
  const metrics = createMetrics("proxy");
  const store = new BlobStore({
    storage: await FsStorage.open({ rootDirectory: `${path}/host` }),
    limitSize: maxSize,
    minFree: () => 0,
    log: silentLogger,
    metrics,
  });
  await store.start();
  const http = new HttpClient();
  const pool = new ConnectionPool();
  const bans = new BanList();
  const announced: string[] = [];
  const tracker = peers && {
    async announce(_: Uint8Array, { event }: { event?: string }) {
      announced.push(event ?? "again");
      return { peers: [...peers], intervalMs: 60_000 };
    },
  };
  const opened: string[] = [];
  const credentials: string[] = [];
  const context: FetchContext = {
    metainfo: seeders && {
      async streamMetaInfo({ url, authorization, avoid = [] }) {
        opened.push(url);
        const seeder = seeders(opened.length - 1, avoid.map(String));
        if (authorization !== undefined) credentials.push(authorization);
        return { seeder: seeder.url ?? new URL("http://127.0.0.1:1"), events: seeder.events() };
      },
    },
    tracker: tracker as unknown as TrackerClient | undefined,
    pool,
    http,
    ...(cluster ? { cluster } : {}),
    bans,
    downLimiter: new RateLimiter(0),
    bounds: timeBounds({ firstByteTimeout, downloadTimeout: 2 }),
    maxSize,
    peerId: "e".repeat(40),
    peerPort: 1,
    log: silentLogger,
    metrics,
  };
  return {
    client: new EagleClient(store, context),
    store,
    bans,
    announced,
    opened,
    credentials,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      pool[Symbol.dispose]();
      await http.close();
    },
  };
}

function request(origin: Origin, changes: Partial<FetchRequest> = {}): FetchRequest {
  return { url: `http://r/v2/a/b/blobs/${blob.digest}`, origin, isPublic: true, ...changes };
}

async function whole(live: LiveBlob, of: TestBlob = blob): Promise<void> {
  assert.equal(await live.done, of.layout.size);
  const bytes = new Uint8Array(of.layout.size);
  await live.read(bytes, 0);
  assert.ok(Buffer.from(bytes).equals(of.bytes));
}

/** What a seeder that has the blob tells. */
async function* told(of: TestBlob = blob): AsyncGenerator<BlobEvent> {
  yield { type: "blob", digest: blob.digest.toString(), size: of.layout.size, pieceLength: of.layout.pieceLength };
  yield { type: "metainfo", metainfo: encodeMetainfo({ ...of.metainfo, id: blob.digest.hex }) };
}

/** What a seeder tells of the blob that it has. @param inline sent with its first word */
async function* tells({ digest, layout, metainfo }: TestBlob, inline?: Uint8Array): AsyncGenerator<BlobEvent> {
  const { size, pieceLength } = layout;
  yield { type: "blob", digest: digest.toString(), size, pieceLength, ...(inline && { inline }) };
  yield { type: "metainfo", metainfo: encodeMetainfo(metainfo) };
}

/** A stream that ends in an error before its first event. */
function refusing(code: "not_found" | "unavailable"): AsyncIterable<BlobEvent> {
  return {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new MetaInfoError(code, "no")) }),
  };
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof BlobError && error.code === code;
}

test("from a seeder alone, by its metainfo and pieces", async () => {
  await using dir = await tempDir();
  await using seeder = await peerWith(dir.path, blob);
  await using host = await hostOf(dir.path, { seeder: { url: seeder.url, events: () => told() } });
  const origin = down();
  using handle = await host.client.acquire(blob.digest, request(origin));
  await whole(handle.blob);
  assert.equal(handle.blob.sourceOf(0), "seeder");
  assert.equal(origin.reads, 0);
  assert.equal(host.opened.length, 1);
});

test("a blob that was lost is fetched as another download, to which all of it is sent again", async () => {
  await using dir = await tempDir();
  await using seeder = await peerWith(dir.path, blob);
  for (const downloads of [1, 2]) {
    const empty = `${dir.path}/${downloads}`;
    await using host = await hostOf(empty, { seeder: { url: seeder.url, events: () => told() } });
    using handle = await host.client.acquire(blob.digest, request(down()));
    await whole(handle.blob);
    assert.equal(seeder.askers.size, downloads);
  }
});

test("from a peer alone, whose metainfo the digest secures, also while it stores the blob", async () => {
  for (const commit of [undefined, () => new Promise<void>(() => {})]) {
    await using dir = await tempDir();
    await using peer = await peerWith(dir.path, blob, { ...(commit && { commit }) });
    await using host = await hostOf(dir.path, { peers: [peer.address] });
    const origin = down();
    using handle = await host.client.acquire(blob.digest, request(origin));
    await whole(handle.blob);
    assert.equal(handle.blob.sourceOf(0), "peer");
    assert.equal(origin.reads, 0);
    assert.equal(host.announced[0], "started");
  }
});

test("neither seeder nor peer: from the origin, into the same metainfo", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path, { peers: [] });
  const origin = originOf(blob.bytes);
  using handle = await host.client.acquire(blob.digest, request(origin));
  await whole(handle.blob);
  assert.deepEqual(handle.blob.metainfo()?.pieces, blob.metainfo.pieces);
  assert.ok(handle.blob.isPublic);
});

test("a seeder that tells the hashes and dies: the origin delivers, and must agree", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path, { seeder: { events: () => told() } });
  using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes)));
  await whole(handle.blob);
});

test("a seeder that is lost half-way: the next takes its place, and the origin is not read", {
  timeout: 20_000,
}, async () => {
  await using dir = await tempDir();
  const large = testBlob(12_000_000, { seed: 30 });
  for (const loss of ["killed", "without the blob"] as const) {
    let asked = 0;
    await using first = await peerWith(`${dir.path}/first`, large, {
      before: async () => {
        if (++asked === 4 && loss === "killed") void first.close();
      },
      after: (response) => (asked < 4 || loss === "killed" ? response : new Response(null, { status: 404 })),
    });
    await using second = await peerWith(`${dir.path}/second`, large);
    await using host = await hostOf(`${dir.path}/${loss}`, {
      seeders: (_, avoid) => ({
        url: avoid.includes(first.url.href) ? second.url : first.url,
        events: () => tells(large),
      }),
    });
    const origin = originOf(large.bytes);
    using handle = await host.client.acquire(large.digest, request(origin));
    await whole(handle.blob, large);
    assert.equal(origin.reads, 0, loss);
    assert.equal(host.opened.length, 2, loss);
    assert.equal(second.askers.size, 1, loss);
  }
});

test("the only seeder goes and comes back: the origin is read for the time between", { timeout: 30_000 }, async () => {
  await using dir = await tempDir();
  const large = testBlob(60_000_000, { seed: 31 });
  let asked = 0;
  await using before = await peerWith(`${dir.path}/before`, large, {
    before: async () => {
      if (++asked === 4) void before.close();
    },
  });
  let answers = 0;
  await using back = await peerWith(`${dir.path}/back`, large, {
    after: (response) => {
      answers++;
      return response;
    },
  });
  const inner = originOf(large.bytes);
  let reads = 0;
  let bytes = 0;
  async function* later() {
    await until(() => reads > 0, "a read of the origin");
    yield* tells(large);
  }
  await using host = await hostOf(dir.path, {
    seeders: (nth) => {
      if (nth === 1) throw new MetaInfoError("unavailable", "no connection");
      return nth === 0 ? { url: before.url, events: () => tells(large) } : { url: back.url, events: later };
    },
  });
  const origin: Origin = {
    name: "origin",
    async read(range, signal) {
      reads++;
      const read = await inner.read(range, signal);
      // Of so many the first has come.
      await until(() => answers > 12, "the seeder to be back");
      bytes += Math.min(range.end ?? large.layout.size, large.layout.size) - (range.start ?? 0);
      return read;
    },
  };
  using handle = await host.client.acquire(large.digest, request(origin));
  await whole(handle.blob, large);
  assert.equal(host.opened.length, 3);
  assert.ok(bytes > 0 && bytes <= 2 * 8 * 1024 * 1024, `${bytes} bytes of the origin`);
});

test("a seeder in the place of a lost one that has to read the blob itself does not keep the origin away", {
  timeout: 20_000,
}, async () => {
  await using dir = await tempDir();
  const large = testBlob(12_000_000, { seed: 32 });
  let asked = 0;
  await using first = await peerWith(`${dir.path}/first`, large, {
    before: async () => void asked++,
    after: (response) => (asked < 20 ? response : new Response(null, { status: 404 })),
  });
  const over = new AbortController();
  await using second = await peerWith(`${dir.path}/second`, large, {
    before: () => new Promise((resolve) => over.signal.addEventListener("abort", () => resolve())),
  });
  const { size, pieceLength } = large.layout;
  const begun: BlobEvent = { type: "blob", digest: large.digest.toString(), size, pieceLength };
  async function* reads() {
    yield begun;
    for (let bytes = 0; !over.signal.aborted; bytes += 20_000) {
      yield { type: "progress", bytes } as const;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  // Longer than the test may take.
  await using host = await hostOf(dir.path, {
    seeders: (nth) => (nth === 0 ? { url: first.url, events: () => tells(large) } : { url: second.url, events: reads }),
    firstByteTimeout: 60,
  });
  using handle = await host.client.acquire(large.digest, request(originOf(large.bytes)));
  await whole(handle.blob, large);
  over.abort();
  assert.equal(host.opened.length, 2);
});

test("an origin that fails while a seeder is back ends nothing", { timeout: 20_000 }, async () => {
  await using dir = await tempDir();
  const large = testBlob(12_000_000, { seed: 33 });
  const isBack = Promise.withResolvers<void>();
  await using back = await peerWith(`${dir.path}/back`, large, { before: () => isBack.promise });
  const { size, pieceLength } = large.layout;
  const begun: BlobEvent = { type: "blob", digest: large.digest.toString(), size, pieceLength };
  // Nobody tells the hashes until the third stream, while the origin is being asked.
  async function* breaks() {
    yield begun;
    throw new MetaInfoError("unavailable", "no connection");
  }
  await using host = await hostOf(dir.path, {
    seeders: (nth) => {
      if (nth === 1) throw new MetaInfoError("unavailable", "no connection");
      return { url: back.url, events: () => (nth === 0 ? breaks() : tells(large)) };
    },
  });
  let reads = 0;
  const origin: Origin = {
    name: "origin",
    async read() {
      if (reads++ === 0) await until(() => host.opened.length === 3, "the third stream");
      isBack.resolve();
      throw new RegistryError("unavailable", "503");
    },
  };
  using handle = await host.client.acquire(large.digest, request(origin));
  await whole(handle.blob, large);
  assert.ok(reads > 0);
});

test("what a seeder says is its answer: it is not asked again and again", { timeout: 20_000 }, async () => {
  await using dir = await tempDir();
  const answer = Promise.withResolvers<void>();
  await using host = await hostOf(dir.path, {
    seeders: () => {
      throw new MetaInfoError("unavailable", "could not read the blob from its origin", { spoken: true });
    },
  });
  const inner = originOf(blob.bytes);
  const origin: Origin = {
    name: "origin",
    async read(range, signal) {
      // Longer than a pause of the search.
      setTimeout(answer.resolve, 1200);
      await answer.promise;
      return await inner.read(range, signal);
    },
  };
  using handle = await host.client.acquire(blob.digest, request(origin));
  await whole(handle.blob);
  assert.equal(host.opened.length, 1);
});

test("a seeder whose bytes are wrong is not taken again for the same blob, nor one that says no asked", {
  timeout: 20_000,
}, async () => {
  for (const second of ["tells again", "says no"] as const) {
    await using dir = await tempDir();
    let lies = 0;
    await using liar = await peerWith(`${dir.path}/liar`, blob, {
      async after(response) {
        if (response.status !== 206) return response;
        lies++;
        const bytes = new Uint8Array(await response.arrayBuffer());
        bytes[0]! ^= 1;
        return new Response(bytes, response);
      },
    });
    const gate = Promise.withResolvers<void>();
    await using host = await hostOf(dir.path, {
      seeders: (nth) => {
        if (nth > 0) gate.resolve();
        if (nth > 0 && second === "says no") throw new MetaInfoError("not_found", "no");
        return { url: liar.url, events: () => tells(blob) };
      },
    });
    const inner = originOf(blob.bytes);
    let liesBefore = 0;
    const origin: Origin = {
      name: "origin",
      async read(range, signal) {
        await gate.promise;
        liesBefore = lies;
        if (second === "tells again") await until(() => host.opened.length > 2, "the third question");
        else await new Promise((resolve) => setTimeout(resolve, 1200));
        return await inner.read(range, signal);
      },
    };
    using handle = await host.client.acquire(blob.digest, request(origin));
    await whole(handle.blob);
    assert.ok(second === "tells again" ? host.opened.length > 2 : host.opened.length === 2, second);
    assert.ok(lies > 0);
    assert.equal(lies, liesBefore, second);
  }
});

test("seeders that say no, break, or tell nonsense: the origin delivers", async () => {
  const seeders: [string, () => AsyncIterable<BlobEvent>][] = [
    ["not found", () => refusing("not_found")],
    ["breaks at once", () => refusing("unavailable")],
    [
      "breaks after the size",
      async function* () {
        yield {
          type: "blob",
          digest: blob.digest.toString(),
          size: blob.layout.size,
          pieceLength: blob.layout.pieceLength,
        };
        throw new MetaInfoError("unavailable", "broke");
      },
    ],
    [
      "has another size",
      async function* () {
        yield { type: "blob", digest: blob.digest.toString(), size: 5, pieceLength: 524_288 };
      },
    ],
    [
      "sends a metainfo that is none",
      async function* () {
        yield {
          type: "blob",
          digest: blob.digest.toString(),
          size: blob.layout.size,
          pieceLength: blob.layout.pieceLength,
        };
        yield { type: "metainfo", metainfo: Uint8Array.of(1, 2, 3) };
      },
    ],
  ];
  for (const [what, events] of seeders) {
    await using dir = await tempDir();
    await using host = await hostOf(dir.path, { seeder: { events } });
    using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes), { size: blob.layout.size }));
    await whole(handle.blob).catch((error) => assert.fail(`${what}: ${error}`));
  }
});

/** A seeder that shows a sign of life again and again, after these events, and has no byte. */
async function* living(first: readonly BlobEvent[], { until }: { until?: () => boolean } = {}) {
  yield* first;
  while (!until?.()) {
    yield { type: "progress", bytes: 70_000 } as const;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a seeder that lives and reads nothing does not keep the origin away", { timeout: 20_000 }, async () => {
  const { size, pieceLength } = blob.layout;
  const begun: BlobEvent = { type: "blob", digest: blob.digest.toString(), size, pieceLength };
  for (const [what, first] of [
    ["before the size", []],
    ["after it", [begun]],
  ] as const) {
    await using dir = await tempDir();
    let over = false;
    const events = () => living(first, { until: () => over });
    await using host = await hostOf(dir.path, { seeder: { events }, firstByteTimeout: 0.5 });
    using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes)));
    await whole(handle.blob);
    assert.equal(handle.blob.sourceOf(0), "origin", what);
    over = true;
  }
});

test("an origin that fails does not end the wait for a seeder that lives", { timeout: 20_000 }, async () => {
  await using dir = await tempDir();
  await using seeder = await peerWith(dir.path, blob);
  const origin = down();
  async function* events(): AsyncGenerator<BlobEvent> {
    yield* living([], { until: () => origin.reads > 0 });
    yield* told();
  }
  await using host = await hostOf(dir.path, { seeder: { url: seeder.url, events }, firstByteTimeout: 0.5 });
  using handle = await host.client.acquire(blob.digest, request(origin));
  await whole(handle.blob);
  assert.equal(handle.blob.sourceOf(0), "seeder");
});

test("who goes on again is left the rest of what the origin was asked for", { timeout: 30_000 }, async () => {
  const large = testBlob(60_000_000, { seed: 20 });
  const { size } = large.layout;
  const events = () => tells(large);
  for (const kind of ["seeder", "peer"] as const) {
    await using dir = await tempDir();
    const gate = Promise.withResolvers<void>();
    await using other = await peerWith(dir.path, large, { before: () => gate.promise });
    const who: HostInit =
      kind === "seeder" ? { seeder: { url: other.url, events } } : { seeder: { events }, peers: [other.address] };
    await using host = await hostOf(dir.path, { ...who, firstByteTimeout: 2 });
    const inner = originOf(large.bytes);
    let live: LiveBlob | undefined;
    let bytes = 0;
    const origin: Origin = {
      name: "origin",
      async read(range, signal) {
        const read = await inner.read(range, signal);
        // By its first byte the other is there again.
        gate.resolve();
        const isBack = () => [...(live?.have ?? [])].some((piece) => live!.sourceOf(piece) === kind);
        await live!.waitFor(isBack, signal);
        bytes += Math.min(range.end ?? size, size) - (range.start ?? 0);
        return read;
      },
    };
    using handle = await host.client.acquire(large.digest, request(origin));
    live = handle.blob;
    await whole(live, large);
    assert.ok(inner.reads >= 1 && inner.reads <= 2, `${kind}: ${inner.reads} ranges`);
    assert.ok(bytes <= 2 * 8 * 1024 * 1024, `${kind}: ${bytes} bytes`);
  }
});

test("a peer that lies about the whole blob is banned, and tells nothing about the origin", async () => {
  await using dir = await tempDir();
  const lie = testBlob(blob.layout.size, { seed: 99 });
  const wrong: TestBlob = { ...lie, metainfo: { ...lie.metainfo, id: blob.digest.hex } };
  // The liar serves wrong pieces under the right name, consistent among themselves.
  const committedLie = await arriving(wrong, `${dir.path}`);
  for (let piece = 0; piece < lie.layout.count; piece++) await committedLie.store(piece, lie.piece(piece), "origin");
  await committedLie.done;
  committedLie.isPublic = true;
  const app = peerRoutes({
    blobs: { peek: async () => ({ blob: committedLie, source: "cache", release() {}, [Symbol.dispose]() {} }) },
    uploader: new Uploader(),
    limiter: new RateLimiter(0),
    buffers: new BufferPool(CHUNK),
  });
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (incoming, env) => {
      if (!incoming.url.endsWith("/metainfo")) return app.fetch(incoming, env);
      return new Response(encodeMetainfo(wrong.metainfo) as Uint8Array<ArrayBuffer>);
    },
  });
  const address = { host: "127.0.0.1", port: listener.port };
  await using host = await hostOf(dir.path, { peers: [address] });
  const origin = originOf(blob.bytes);
  {
    using handle = await host.client.acquire(blob.digest, request(origin));
    await assert.rejects(handle.blob.done, isCode("digest_mismatch"));
  }
  assert.ok(host.bans.has(`127.0.0.1:${listener.port}`));
  for (let round = 0; round < 2; round++) {
    using handle = await host.client.acquire(blob.digest, request(origin));
    await whole(handle.blob);
  }
  await listener.close({ graceMs: 0 });
  await committedLie.close();
});

test("a peer whose blob has another size than the registry said is not believed", async () => {
  await using dir = await tempDir();
  const other = testBlob(3_000_000, { seed: 98 });
  await using peer = await peerWith(dir.path, { ...other, metainfo: { ...other.metainfo, id: blob.digest.hex } });
  await using host = await hostOf(dir.path, { peers: [peer.address] });
  using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes), { size: blob.layout.size }));
  await whole(handle.blob);
});

test("a small blob comes with the seeder's first word: no tracker, no peer is asked", async () => {
  await using dir = await tempDir();
  const tiny = testBlob(2000, { seed: 7 });
  const { digest, bytes } = tiny;
  async function* inline(delayMs: number): AsyncGenerator<BlobEvent> {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    yield* tells(tiny, bytes);
  }
  // The second: its size is known, so that it is waited for however long the origin takes.
  for (const [delayMs, size] of [
    [0, undefined],
    [150, bytes.length],
  ] as const) {
    await using own = await tempDir();
    await using host = await hostOf(own.path, { peers: [], seeder: { events: () => inline(delayMs) } });
    using handle = await host.client.acquire(digest, request(down(), size === undefined ? {} : { size }));
    await whole(handle.blob, tiny);
    await new Promise((resolve) => setTimeout(resolve, 80));
    assert.deepEqual(host.announced, []);
  }
  await using host = await hostOf(dir.path, { peers: [], seeder: { events: () => refusing("unavailable") } });
  using handle = await host.client.acquire(digest, request(originOf(bytes), { size: bytes.length }));
  await whole(handle.blob, tiny);
  assert.equal(host.announced[0], "started", "without the seeder others are asked");
});

test("a slow disk is no silence: what is on its way to it is not read from the origin as well", async () => {
  await using dir = await tempDir();
  const tiny = testBlob(2000, { seed: 9 });
  await using host = await hostOf(dir.path, { seeder: { events: () => tells(tiny, tiny.bytes) } });
  const origin = originOf(tiny.bytes);
  const { write } = Descriptor.prototype;
  Descriptor.prototype.write = async function (...args) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await write.apply(this, args);
  };
  try {
    using handle = await host.client.acquire(tiny.digest, request(origin));
    await whole(handle.blob, tiny);
  } finally {
    Descriptor.prototype.write = write;
  }
  assert.equal(origin.reads, 0);
});

test("a seeder's word that is wrong fails no pull: small bytes are read elsewhere, a list is not held against the origin", async () => {
  await using dir = await tempDir();
  const tiny = testBlob(2000, { seed: 8 });
  const wrong = Uint8Array.from(tiny.bytes, (byte, index) => (index === 5 ? byte ^ 1 : byte));
  await using host = await hostOf(dir.path, { seeder: { events: () => tells(tiny, wrong) } });
  {
    using handle = await host.client.acquire(tiny.digest, request(originOf(tiny.bytes)));
    await whole(handle.blob, tiny);
    assert.equal(handle.blob.sourceOf(0), "origin");
  }
  await using own = await tempDir();
  const sha1s = Uint8Array.from(blob.metainfo.pieces, (byte, index) => (index === 3 ? byte ^ 1 : byte));
  const misled = { ...blob, metainfo: { ...blob.metainfo, pieces: sha1s } };
  await using other = await hostOf(own.path, { seeder: { events: () => told(misled) } });
  for (let round = 0; round < 3; round++) {
    using handle = await other.client.acquire(blob.digest, request(originOf(blob.bytes)));
    // Whoever reads it goes on at the origin itself.
    await assert.rejects(handle.blob.done, isCode("other_list"));
  }
});

test("a private blob comes from the origin alone: nobody else is even asked", async () => {
  await using dir = await tempDir();
  await using peer = await peerWith(dir.path, blob);
  await using host = await hostOf(dir.path, { peers: [peer.address], seeder: { url: peer.url, events: () => told() } });
  {
    using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes), { isPublic: false }));
    await whole(handle.blob);
    assert.equal(handle.blob.isPublic, false);
  }
  assert.deepEqual([host.announced, host.opened], [[], []]);
  await assert.rejects(host.client.acquire(blob.digest, request(down(), { onlyPublic: true })), isCode("unavailable"));
  using seen = await host.store.peek(blob.digest);
  assert.equal(seen?.blob.isPublic, false, "asking without the registry's word publishes nothing");
  using handle = await host.client.acquire(blob.digest, request(down()));
  assert.ok(handle.blob.isPublic, "the registry's word does");
});

test("one fetch however many ask; its failure is everybody's, and the next call begins anew", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path);
  const failing = down();
  const handles = await Promise.all(
    Array.from({ length: 10 }, () => host.client.acquire(blob.digest, request(failing))),
  );
  for (const handle of handles) {
    await assert.rejects(handle.blob.done, isCode("unavailable"));
    handle.release();
  }
  assert.equal(failing.reads, 1);
  using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes)));
  await whole(handle.blob);
});

test("what the origin refuses keeps its code and challenge", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path);
  for (const [code, wanted] of [
    ["not_found", "not_found"],
    ["denied", "denied"],
    ["unauthorized", "unauthorized"],
    ["timeout", "unavailable"],
  ] as const) {
    using handle = await host.client.acquire(
      blob.digest,
      request(originOf(new RegistryError(code, "no", { challenge: "Basic" })), { isPublic: false }),
    );
    await assert.rejects(
      handle.blob.done,
      (error) => isCode(wanted)(error) && (error as BlobError).challenge === "Basic",
    );
  }
});

test("an origin of wrong bytes is read twice, then not for a minute", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path);
  const wrong = Uint8Array.from(blob.bytes);
  wrong[7]! ^= 1;
  const origin = originOf(wrong);
  for (let round = 0; round < 2; round++) {
    using handle = await host.client.acquire(blob.digest, request(origin));
    await assert.rejects(handle.blob.done, isCode("digest_mismatch"));
  }
  const { reads } = origin;
  await assert.rejects(host.client.acquire(blob.digest, request(origin)), isCode("digest_mismatch"));
  assert.equal(origin.reads, reads);
});

test("larger than the cache is said so, by whoever knows first", async () => {
  await using dir = await tempDir();
  await using host = await hostOf(dir.path, { seeder: { events: () => told() }, maxSize: 1_000_000 });
  using handle = await host.client.acquire(blob.digest, request(originOf(blob.bytes)));
  await assert.rejects(handle.blob.done, isCode("too_large"));
});

test("routes offer public blobs alone, and HEAD leaves nothing open", async () => {
  await using dir = await tempDir();
  for (const isPublic of [true, false]) {
    const live = await arriving(blob, dir.path);
    for (let piece = 0; piece < blob.layout.count; piece++) await live.store(piece, blob.piece(piece), "origin");
    await live.done;
    live.isPublic = isPublic;
    let held = 0;
    const app = peerRoutes({
      blobs: {
        async peek() {
          held++;
          const release = () => void held--;
          return { blob: live, source: "cache", release, [Symbol.dispose]: release };
        },
      },
      uploader: new Uploader(),
      limiter: new RateLimiter(0),
      buffers: new BufferPool(CHUNK),
    });
    const base = `http://x/p2p/v1/blobs/${blob.digest}`;
    const env = {
      remoteAddress: "127.0.0.1",
      remotePort: 1,
      localAddress: "127.0.0.1",
      localPort: 2,
      secure: false,
      target: "",
    };
    const call = (path: string, init?: RequestInit) => app.fetch(new Request(base + path, init), env);
    const nothing = new Uint8Array(Math.ceil(blob.layout.count / 8));
    const answers = [
      await call("", { method: "HEAD" }),
      await call("/pieces", { method: "HEAD" }),
      await call("/metainfo"),
      await call("", { headers: { range: "bytes=0-524287" } }),
      await call("/next", { method: "POST", body: nothing }),
      await call("/next", { method: "POST", body: new Uint8Array(100) }),
      await call("/next", { method: "POST", body: new Uint8Array(600_000) }),
    ];
    const statuses = answers.map(({ status }) => status);
    assert.deepEqual(statuses, isPublic ? [200, 200, 200, 206, 206, 400, 413] : new Array<number>(7).fill(404));
    if (isPublic) assert.equal(answers[3]?.headers.get("eagle-piece-sha1"), Buffer.from(blob.sha1(0)).toString("hex"));
    for (const answer of answers) await answer.body?.cancel();
    assert.equal(held, 0, "every handle was released");
    await live.close();
  }
});

test("a private blob comes from parts of the cluster, asked as a part, with credentials for the seeder alone", async () => {
  await using dir = await tempDir();
  const cluster = new ClusterAuth({ secret: "a secret of the cluster" });
  await using peer = await peerWith(dir.path, blob, { isPublic: false, cluster });
  const seeder = { url: peer.url, events: () => told() };
  const init = { seeder, peers: [peer.address], cluster };
  const wanted = { isPublic: false, asPart: true, authorization: "Basic x" };
  {
    await using host = await hostOf(dir.path, init);
    const origin = down();
    using handle = await host.client.acquire(blob.digest, request(origin, wanted));
    await whole(handle.blob);
    assert.equal(origin.reads, 0);
    assert.equal(handle.blob.isPublic, false);
    assert.deepEqual(host.credentials, ["Basic x"]);
  }
  const cases: [string, HostInit, Partial<FetchRequest>][] = [
    ["as anyone", init, { isPublic: true, authorization: "Basic x" }],
    ["with another secret", { ...init, cluster: new ClusterAuth({ secret: "some other secret" }) }, wanted],
    ["without a secret", { seeder, peers: [peer.address] }, wanted],
  ];
  for (const [what, other, changes] of cases) {
    await using place = await tempDir();
    await using host = await hostOf(place.path, other);
    const origin = originOf(blob.bytes);
    using handle = await host.client.acquire(blob.digest, request(origin, changes));
    await whole(handle.blob);
    assert.equal(handle.blob.sourceOf(0), "origin", what);
    if (what !== "with another secret") assert.deepEqual(host.credentials, [], what);
  }
});
