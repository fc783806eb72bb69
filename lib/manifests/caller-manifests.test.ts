/** @module Tests of who gets which manifest from where, as time goes by. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AccessChecker } from "../access/access.ts";
import { silentLogger } from "../log/log.ts";
import { OriginClient } from "../registry/origin-client.ts";
import { type FakeDistribution, fakeDistribution, OCI_MANIFEST } from "../registry/testing/fake-distribution.ts";
import { Upstreams } from "../registry/upstreams.ts";
import { parseAccept } from "./accept.ts";
import { CallerManifests, type CallerQuery } from "./caller-manifests.ts";
import { ManifestStore } from "./manifest-store.ts";
import { OriginManifests } from "./origin-manifests.ts";
import { type ManifestAnswer, PublicManifests } from "./public-manifests.ts";

const RIGHT = "Basic cmlnaHQ=";
const image = (n: number) => ({ schemaVersion: 2, n, config: {}, layers: [] });

interface World {
  readonly origin: FakeDistribution;
  readonly clock: { now: number };
  /** What the proxy answers, in short. */
  ask(reference: string, init?: Partial<CallerQuery>): Promise<string>;
  get(reference: string, init?: Partial<CallerQuery>): Promise<ManifestAnswer>;
  /** Requests since the last look. */
  asked(): string[];
}

async function inWorld(
  run: (w: World) => Promise<void>,
  { authorize = "private", tagTtlMs = 0 }: { authorize?: "private" | "always" | "never"; tagTtlMs?: number } = {},
): Promise<void> {
  const fake = await fakeDistribution();
  const client = new OriginClient();
  const clock = { now: 0 };
  const now = () => clock.now;
  try {
    const access = new AccessChecker({
      origins: client,
      log: silentLogger,
      now,
      policy: authorize === "always" ? "always" : "private",
    });
    const origin = new OriginManifests({ origins: client, now });
    const store = new ManifestStore();
    const shared = new PublicManifests({ origin, access, store, tagTtlMs, now });
    const manifests = new CallerManifests({ shared, origin, access, store, authorize, now });
    const upstream = new Upstreams({ origin: fake.url }).default!;
    const get = (reference: string, init: Partial<CallerQuery> = {}) =>
      manifests.get({
        place: { upstream, repository: "a/b" },
        reference,
        accept: parseAccept(OCI_MANIFEST),
        wantsBytes: true,
        authorization: undefined,
        signal: new AbortController().signal,
        ...init,
      });
    await run({
      origin: fake,
      clock,
      get,
      async ask(reference, init) {
        const answer = await get(reference, init);
        if (answer.kind === "refused") return `${answer.status}`;
        if (answer.kind !== "found") return answer.kind;
        return `${answer.source}${answer.isPublic ? "" : " private"}${answer.isStale ? " stale" : ""}`;
      },
      asked: () =>
        fake.requests.splice(0).map((text) => text.replace(/sha256:.*/, "digest").replace("/v2/a/b/manifests/", "")),
    });
  } finally {
    await client.close();
    await fake.close();
  }
}

test("what anyone may read is asked about once a minute; a tag each time", async () => {
  await inWorld(async ({ origin, clock, ask, asked }) => {
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    assert.equal(await ask("1"), "origin");
    assert.deepEqual(asked(), ["GET 1"]);
    assert.equal(await ask("1"), "cache");
    assert.deepEqual(asked(), ["HEAD 1"]);
    for (const authorization of [undefined, RIGHT, "Basic other"])
      assert.equal(await ask(digest, { authorization }), "cache");
    assert.deepEqual(asked(), []);
    clock.now = 60_001;
    assert.equal(await ask(digest), "cache");
    assert.deepEqual(asked(), ["HEAD digest"]);
  });
});

test("made private, it is refused within a minute, and given to whom the origin gives it", async () => {
  await inWorld(async ({ origin, clock, ask }) => {
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    assert.equal(await ask("1"), "origin");
    origin.manners.authorize.set("a/b", RIGHT);
    assert.equal(await ask("1"), "401", "a tag at once");
    clock.now = 60_001;
    assert.equal(await ask(digest), "401");
    assert.equal(await ask(digest, { authorization: RIGHT }), "cache private");
    assert.equal(await ask(digest, { authorization: "Basic other" }), "401");
    await origin.down();
    clock.now += 20_000;
    assert.equal(await ask(digest), "down", "what was public once is no longer, also while the registry is down");
    assert.equal(await ask("1"), "down");
    assert.equal(await ask(digest, { authorization: RIGHT }), "cache private");
  });
});

test("a private one: the caller's right holds a minute, and an hour while the registry is down", async () => {
  await inWorld(async ({ origin, clock, ask, asked }) => {
    origin.manners.authorize.set("a/b", RIGHT);
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    const mine = { authorization: RIGHT };
    assert.equal(await ask("1", mine), "origin private");
    assert.deepEqual(asked(), ["GET 1", "GET 1"], "as anyone, then in the caller's name");
    assert.equal(await ask("1", mine), "cache private");
    assert.deepEqual(asked(), ["HEAD 1"], "a repository that is private is not asked about as anyone");
    assert.equal(await ask(digest, mine), "cache private");
    assert.deepEqual(asked(), []);
    clock.now = 60_001;
    assert.equal(await ask(digest, mine), "cache private");
    assert.ok(asked().length > 0);
    await origin.down();
    clock.now = 3_000_000;
    assert.equal(await ask(digest, mine), "cache private");
    assert.equal(await ask("1", mine), "cache private stale");
    for (const authorization of [undefined, "Basic other"])
      for (const reference of [digest, "1"]) assert.equal(await ask(reference, { authorization }), "down");
    clock.now = 4_000_000;
    assert.equal(await ask("1", mine), "down");
  });
});

test("a right taken away is heard at once by a tag, and within a minute by a digest", async () => {
  await inWorld(async ({ origin, clock, ask }) => {
    origin.manners.authorize.set("a/b", RIGHT);
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    const mine = { authorization: RIGHT };
    assert.equal(await ask("1", mine), "origin private");
    origin.manners.authorize.set("a/b", "Basic new");
    assert.equal(await ask("1", mine), "401");
    clock.now = 60_001;
    assert.equal(await ask(digest, mine), "401");
    await origin.down();
    clock.now += 11_000;
    assert.equal(await ask(digest, mine), "down");
    assert.equal(await ask("1", mine), "down", "nor as a stale one");
  });
});

test("one repository's manifest is not another's", async () => {
  await inWorld(async ({ origin, get, ask }) => {
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    assert.equal(await ask(digest), "origin");
    const place = { upstream: new Upstreams({ origin: origin.url }).default!, repository: "c/d" };
    assert.equal((await get(digest, { place })).kind, "refused");
  });
});

test("a manifest that is deleted is gone, also from the cache", async () => {
  await inWorld(async ({ origin, clock, ask }) => {
    const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
    assert.equal(await ask("1"), "origin");
    origin.remove("a/b", "1");
    origin.remove("a/b", digest);
    assert.equal(await ask("1"), "404");
    clock.now = 60_001;
    assert.equal(await ask(digest), "404");
    await origin.down();
    clock.now += 11_000;
    assert.deepEqual([await ask("1"), await ask(digest)], ["down", "down"]);
  });
});

test("the word on a tag holds for tagTtlMs; of many at once one is asked on", async () => {
  await inWorld(
    async ({ origin, clock, ask, asked }) => {
      origin.manifest("a/b", image(1), { tag: "1" });
      origin.manners.delayMs = 10;
      await Promise.all(Array.from({ length: 50 }, () => ask("1")));
      assert.deepEqual(asked(), ["GET 1"]);
      clock.now = 4999;
      origin.manifest("a/b", image(2), { tag: "1" });
      assert.equal(await ask("1"), "cache");
      assert.deepEqual(asked(), []);
      clock.now = 5000;
      assert.equal(await ask("1"), "origin");
      assert.equal(await ask("1", { accept: parseAccept("x/y") }), "404", "another Accept is another question");
    },
    { tagTtlMs: 5000 },
  );
});

test("credentials that ask at once for the same are one question, others another", async () => {
  await inWorld(async ({ origin, ask, asked }) => {
    origin.manners.authorize.set("a/b", RIGHT);
    origin.manifest("a/b", image(1), { tag: "1" });
    await ask("1", { authorization: RIGHT });
    asked();
    origin.manners.delayMs = 10;
    const who = [RIGHT, RIGHT, "Basic other", RIGHT, "Basic other"];
    const answers = await Promise.all(who.map((authorization) => ask("1", { authorization })));
    assert.deepEqual(answers, ["cache private", "cache private", "401", "cache private", "401"]);
    assert.deepEqual(asked(), ["HEAD 1", "HEAD 1"]);
  });
});

test("a registry that limits the anonymous still hears a caller with credentials; 5xx and 429 are no refusal", async () => {
  await inWorld(async ({ origin, clock, ask }) => {
    origin.manifest("a/b", image(1), { tag: "1" });
    assert.equal(await ask("1"), "origin");
    for (const status of [500, 502, 503, 429]) {
      origin.manners.status = status;
      assert.equal(await ask("1"), "cache stale", `${status}`);
    }
    for (const status of [400, 406, 418]) {
      origin.manners.status = status;
      assert.equal(await ask("1"), "unfit", `${status}: the registry's own answer`);
    }
    clock.now = 1;
  });
});

test("what answers with a type that was not asked for is not kept", async () => {
  await inWorld(async ({ origin, ask }) => {
    origin.manifest("a/b", image(1), { tag: "1", mediaType: "text/html" });
    assert.equal(await ask("1", { accept: parseAccept("application/json, text/*;q=0, */html") }), "404");
    assert.equal(await ask("1", { accept: parseAccept("x/text/html") }), "unfit");
    await origin.down();
    assert.equal(await ask("1", { accept: parseAccept("x/text/html") }), "down");
  });
});

test("always: each caller; never: what is private is not Eagle's", async () => {
  await inWorld(
    async ({ origin, clock, ask, asked }) => {
      const { digest } = origin.manifest("a/b", image(1), { tag: "1" });
      assert.equal(await ask("1"), "origin");
      origin.manners.authorize.set("a/b", RIGHT);
      assert.equal(await ask(digest, { authorization: "Basic other" }), "401");
      assert.equal(await ask(digest, { authorization: RIGHT }), "cache");
      asked();
      clock.now = 60_001;
      assert.equal(await ask(digest, { authorization: RIGHT }), "cache private");
      assert.ok(asked().length > 0);
    },
    { authorize: "always" },
  );
  await inWorld(
    async ({ origin, ask }) => {
      origin.manifest("a/b", image(1), { tag: "1" });
      assert.equal(await ask("1", { authorization: RIGHT }), "origin");
      origin.manners.authorize.set("a/b", RIGHT);
      assert.equal(await ask("1", { authorization: RIGHT }), "unfit");
      assert.equal(await ask("1"), "401");
    },
    { authorize: "never" },
  );
});
