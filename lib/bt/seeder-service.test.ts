/** @module Tests of the seeder's side of the MetaInfo service, with a registry that behaves as told. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { OriginClient } from "../registry/origin-client.ts";
import { type BlobManners, fakeServer, serveBlob } from "../registry/testing/fake-registry.ts";
import { Upstreams } from "../registry/upstreams.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import { FsStorage } from "../storage/index.ts";
import { BlobStore } from "./blob-store.ts";
import { RateLimiter } from "./limiter.ts";
import { decodeMetainfo, infoHash } from "./metainfo.ts";
import { SeederService } from "./seeder-service.ts";
import { type TestBlob, tempDir, testBlob } from "./testing/blobs.ts";
import { timeBounds } from "./time-bounds.ts";

const large = testBlob(1_500_000);
const tiny = testBlob(2000, { seed: 2 });

interface Behaviour {
  /** Changes the bytes of the next answers. */
  bytes?: (of: TestBlob) => Uint8Array;
  manners?: BlobManners;
  /** Answers instead, for every blob. */
  status?: number;
  /** Answers instead to who has other credentials. */
  guard?: { authorization: string; status: number };
}

/** A seeder over a registry that has both blobs in `a/b`. */
async function seederOf(path: string, behaviour: Behaviour = {}, { maxSize = 100_000_000 }: { maxSize?: number } = {}) {
  const registry = await fakeServer((req, res) => {
    const of = [large, tiny].find(({ digest }) => req.url === `/v2/a/b/blobs/${digest}`);
    const { guard } = behaviour;
    const refused = guard && req.headers.authorization !== guard.authorization ? guard.status : behaviour.status;
    if (refused !== undefined) {
      res.writeHead(refused, { "www-authenticate": 'Basic realm="r"', "content-length": 0 }).end();
    } else if (!of) res.writeHead(404, { "content-length": 0 }).end();
    else serveBlob(req, res, behaviour.bytes?.(of) ?? of.bytes, behaviour.manners);
  });
  const http = new HttpClient();
  const metrics = createMetrics("seeder");
  const store = new BlobStore({
    storage: await FsStorage.open({ rootDirectory: path }),
    limitSize: maxSize,
    minFree: () => 0,
    log: silentLogger,
    metrics,
  });
  await store.start();
  const said: string[] = [];
  const service = new SeederService({
    store,
    origins: new OriginClient({ http }),
    upstreams: new Upstreams({ origin: registry.url }),
    downLimiter: new RateLimiter(0),
    maxSize,
    announce: [["http://127.0.0.1:1/announce"]],
    bounds: timeBounds({ downloadTimeout: 2 }),
    log: {
      ...silentLogger,
      info: (words) => said.push(`info: ${words}`),
      warn: (words) => said.push(`warn: ${words}`),
    },
    metrics,
  });
  const gets = () => registry.seen.filter(({ method }) => method === "GET").length;
  const url = (of: TestBlob) => `${registry.url}/v2/a/b/blobs/${of.digest}`;
  return {
    service,
    registry,
    said,
    gets,
    url,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await http.close();
      await registry.close();
    },
  };
}

const live = () => new AbortController().signal;

async function collectEvents(events: AsyncIterable<BlobEvent>): Promise<BlobEvent[]> {
  const list: BlobEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof MetaInfoError && error.code === code;
}

test("many callers, one read of the origin, the same exact metainfo for all", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path);
  const url = seeder.url(large);
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => seeder.service.getMetaInfo({ url, signal: live() })),
  );
  for (const reply of replies) {
    const metainfo = decodeMetainfo(reply);
    assert.equal(metainfo.isPublic, undefined, "the mark of this host is not told");
    assert.deepEqual(infoHash(metainfo), infoHash(large.metainfo));
  }
  assert.equal(seeder.gets(), 1);
  await seeder.service.getMetaInfo({ url, signal: live() });
  const path = new URL(url).pathname;
  await seeder.service.getMetaInfo({ url: path, signal: live() });
  assert.equal(seeder.gets(), 1, "a path alone is the default origin's");
});

test("a stream tells size, hashes in order, and at last the metainfo; a tiny blob comes whole", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path);
  for (const warm of [false, true]) {
    const events = (
      await collectEvents(seeder.service.streamMetaInfo({ url: seeder.url(large), signal: live() }))
    ).filter(({ type }) => type !== "progress");
    assert.deepEqual(events[0], {
      type: "blob",
      digest: large.digest.toString(),
      size: 1_500_000,
      pieceLength: 524_288,
    });
    let next = 0;
    for (const event of events.slice(1, -1)) {
      assert.ok(event.type === "hashes");
      assert.equal(event.firstIndex, next);
      next += event.sha1s.length / 20;
      assert.deepEqual(
        Buffer.from(event.sha1s),
        Buffer.from(large.metainfo.pieces.subarray(event.firstIndex * 20, next * 20)),
      );
    }
    if (warm) assert.equal(next, 0, "a finished blob needs no hashes beside its metainfo");
    const last = events.at(-1);
    assert.ok(last?.type === "metainfo");
    assert.deepEqual(infoHash(decodeMetainfo(last.metainfo)), infoHash(large.metainfo));
  }
  const [whole, metainfo] = await collectEvents(
    seeder.service.streamMetaInfo({ url: seeder.url(tiny), signal: live() }),
  );
  assert.ok(whole?.type === "blob" && metainfo?.type === "metainfo");
  assert.deepEqual(whole.inline, tiny.bytes);
});

test("what was begun is finished, whoever leaves", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path);
  const gone = new AbortController();
  const left = seeder.service.getMetaInfo({ url: seeder.url(large), signal: gone.signal });
  const rejected = assert.rejects(left);
  for await (const event of seeder.service.streamMetaInfo({ url: seeder.url(large), signal: live() })) {
    if (event.type === "blob") break;
  }
  gone.abort(new Error("left"));
  await rejected;
  await seeder.service.getMetaInfo({ url: seeder.url(large), signal: live() });
  assert.equal(seeder.gets(), 1);
});

test("an origin that is cut goes on where it stopped", async () => {
  await using dir = await tempDir();
  const behaviour: Behaviour = { manners: { cutAfter: 700_000 } };
  await using seeder = await seederOf(dir.path, behaviour);
  const metainfo = decodeMetainfo(await seeder.service.getMetaInfo({ url: seeder.url(large), signal: live() }));
  assert.deepEqual(infoHash(metainfo), infoHash(large.metainfo));
});

test("wrong questions and refusals have their codes", async () => {
  await using dir = await tempDir();
  const behaviour: Behaviour = {};
  await using seeder = await seederOf(dir.path, behaviour, { maxSize: 1_000_000 });
  const { registry, service } = seeder;
  const ask = (url: string) => service.getMetaInfo({ url, signal: live() });
  const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const cases: [string, string][] = [
    ["", "invalid_argument"],
    ["nonsense", "invalid_argument"],
    [`${registry.url}/v2/a/b/blobs/sha256:abc`, "invalid_argument"],
    [`${registry.url}/v2/a/b/manifests/latest`, "invalid_argument"],
    [`${registry.url}/v2/../a/blobs/${large.digest}`, "invalid_argument"],
    [`http://example.com/v2/a/b/blobs/${large.digest}`, "permission_denied"],
    [`http://127.0.0.1:1/v2/a/b/blobs/${large.digest}`, "permission_denied"],
    [`file:///v2/a/b/blobs/${large.digest}`, "permission_denied"],
    [`${registry.url}/v2/a/b/blobs/${empty}`, "failed_precondition"],
    [`${registry.url}/v2/c/d/blobs/${tiny.digest}`, "not_found"],
    [seeder.url(large), "resource_exhausted"],
  ];
  for (const [url, code] of cases) await assert.rejects(ask(url), isCode(code), `${url} wants ${code}`);
  behaviour.status = 401;
  await assert.rejects(
    ask(seeder.url(tiny)),
    (error) => isCode("unauthenticated")(error) && (error as MetaInfoError).challenge === 'Basic realm="r"',
  );
  behaviour.status = 403;
  await assert.rejects(ask(seeder.url(tiny)), isCode("permission_denied"));
  delete behaviour.status;
  await ask(seeder.url(tiny));
});

test("the log says what failed: the origin, its refusal, or the seeder's own disk", async () => {
  await using dir = await tempDir();
  const behaviour: Behaviour = {};
  await using seeder = await seederOf(dir.path, behaviour);
  const fails = async (of: TestBlob) => {
    await assert.rejects(seeder.service.getMetaInfo({ url: seeder.url(of), signal: live() }), MetaInfoError);
    // The answer may be sooner.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return seeder.said.splice(0);
  };
  behaviour.status = 404;
  assert.deepEqual(await fails(large), ["info: the origin does not have a blob"]);
  behaviour.status = 403;
  assert.deepEqual(await fails(large), ["info: the origin refuses a blob"]);
  delete behaviour.status;
  await rm(join(dir.path, "partial"), { recursive: true });
  assert.ok((await fails(large)).includes("warn: could not store a blob: the seeder's own disk failed"));
});

test("the caller's credentials are not used: a seeder reads what anyone may", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path);
  await seeder.service.getMetaInfo({ url: seeder.url(tiny), authorization: "Basic c2VjcmV0", signal: live() });
  for (const { headers } of seeder.registry.seen) assert.equal(headers.authorization, undefined);
});

test("wrong bytes: one re-read, then nothing for a minute", async () => {
  await using dir = await tempDir();
  const flip = (of: TestBlob) => {
    const bytes = Uint8Array.from(of.bytes);
    bytes[10]! ^= 1;
    return bytes;
  };
  {
    const behaviour: Behaviour = { bytes: flip };
    await using seeder = await seederOf(dir.path, behaviour);
    await assert.rejects(seeder.service.getMetaInfo({ url: seeder.url(large), signal: live() }), isCode("internal"));
    delete behaviour.bytes;
    await seeder.service.getMetaInfo({ url: seeder.url(large), signal: live() });
  }
  await using other = await tempDir();
  await using liar = await seederOf(other.path, { bytes: flip });
  const url = liar.url(large);
  const ask = () => assert.rejects(liar.service.getMetaInfo({ url, signal: live() }), isCode("internal"));
  for (let round = 0; round < 6; round++) await Promise.all([ask(), ask(), ask()]);
  assert.equal(liar.gets(), 2);
});

test("the torrent for standard clients has trackers and a web seed around the same info", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path);
  const text = Buffer.from(await seeder.service.getMetaInfo({ url: seeder.url(tiny), signal: live() })).toString(
    "latin1",
  );
  assert.match(text, /^d8:announce27:http:\/\/127\.0\.0\.1:1\/announce/);
  assert.ok(!text.includes("eagle-public"));
});

const right = "Basic cmlnaHQ=";

/** Says to strangers what it is told to say, and gives the blobs to who has the right credentials. */
function guarded(refusal = 401): Behaviour {
  return { guard: { authorization: right, status: refusal } };
}

test("a part has a private blob read in its caller's name; strangers hear what the registry tells them", async () => {
  for (const [status, code] of [
    [401, "unauthenticated"],
    [403, "permission_denied"],
    [404, "not_found"],
  ] as const) {
    await using dir = await tempDir();
    await using seeder = await seederOf(dir.path, guarded(status));
    const url = seeder.url(large);
    const ask = (more: object = {}) => seeder.service.getMetaInfo({ url, signal: live(), ...more });
    await assert.rejects(ask(), isCode(code));
    await assert.rejects(ask({ isPart: true }), isCode(code));
    await ask({ isPart: true, authorization: right });
    assert.equal(seeder.gets(), 3);
    await ask({ isPart: true });
    await assert.rejects(ask(), isCode(code), "it is here, and not for strangers");
    if (status !== 404) await assert.rejects(ask({ authorization: right }), isCode("permission_denied"));
    assert.equal(seeder.gets(), 3, "nothing is read again");
  }
});

test("a stranger who asks first does not spoil it for a part that asks with the right credentials", async () => {
  await using dir = await tempDir();
  await using seeder = await seederOf(dir.path, guarded());
  const url = seeder.url(large);
  for (let round = 0; round < 5; round++) {
    const strangers = [1, 2, 3].map(() => seeder.service.getMetaInfo({ url, signal: live() }));
    const part = seeder.service.getMetaInfo({ url, isPart: true, authorization: right, signal: live() });
    for (const stranger of strangers) await assert.rejects(stranger, isCode("unauthenticated"));
    await part;
  }
});

test("what has become public is everybody's", async () => {
  await using dir = await tempDir();
  const behaviour = guarded();
  await using seeder = await seederOf(dir.path, behaviour);
  const url = seeder.url(tiny);
  await seeder.service.getMetaInfo({ url, isPart: true, authorization: right, signal: live() });
  delete behaviour.guard;
  await seeder.service.getMetaInfo({ url, signal: live() });
  assert.equal(seeder.gets(), 1);
});
