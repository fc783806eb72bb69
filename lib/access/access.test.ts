/** @module Tests of who may have a blob. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { RegistryError } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import { Upstreams } from "../registry/upstreams.ts";
import { AccessChecker, type AccessPolicy, type AccessQuery } from "./access.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const upstream = new Upstreams({ origin: "http://127.0.0.1:5000" }).default!;
const withPassword = new Upstreams({
  origin: "http://127.0.0.1:5000",
  registries: { "127.0.0.1:5000": { username: "u", password: "p", plainHTTP: true } },
}).default!;

type Head = Awaited<ReturnType<OriginClient["headBlob"]>>;

/** A checker over an origin that answers as told, on a clock that the test moves. */
function checkerOf(
  answer: (caller: Caller, repository: string, digest: Digest) => Head | Promise<Head>,
  { policy = "private" }: { policy?: AccessPolicy } = {},
) {
  const asked: string[] = [];
  const clock = { now: 0 };
  const access = new AccessChecker({
    origins: {
      async headBlob(_, repository, asking, { caller }) {
        asked.push(`${repository} ${asking.hex.slice(0, 2)} ${caller.kind}`);
        return answer(caller, repository, asking);
      },
      async headManifest(_, repository, asking, { caller }) {
        asked.push(`${repository} manifest ${asking.hex.slice(0, 2)} ${caller.kind}`);
        return answer(caller, repository, asking);
      },
    },
    log: silentLogger,
    now: () => clock.now,
    policy,
  });
  const query = (changes: Partial<AccessQuery> = {}): AccessQuery => ({
    upstream,
    repository: "a/b",
    digest,
    authorization: undefined,
    ...changes,
  });
  return { access, asked, clock, query };
}

const isAnonymous = (caller: Caller) => caller.kind === "anonymous";
const ok: Head = { status: 200, size: 42 };
const challenged: Head = { status: 401, challenge: 'Basic realm="x"' };

test("what anyone may read is public, by one HEAD for all who ask", async () => {
  const { access, asked, query } = checkerOf(async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return ok;
  });
  const verdicts = await Promise.all(
    Array.from({ length: 30 }, (_, index) => access.check(query({ authorization: index % 2 ? "Basic x" : undefined }))),
  );
  for (const verdict of verdicts)
    assert.deepEqual(verdict, { kind: "allowed", isPublic: true, confirmed: true, size: 42 });
  assert.equal(asked.length, 1);
});

test("a private blob is the caller's alone: its credentials are asked about, nobody else profits", async () => {
  const { access, asked, query } = checkerOf((caller) =>
    caller.kind === "caller" && caller.authorization === "Basic right" ? ok : challenged,
  );
  assert.deepEqual(await access.check(query({ authorization: "Basic right" })), {
    kind: "allowed",
    isPublic: false,
    confirmed: true,
    size: 42,
  });
  for (const authorization of [undefined, "Basic wrong"]) {
    assert.deepEqual(await access.check(query({ authorization })), {
      kind: "refused",
      status: 401,
      challenge: 'Basic realm="x"',
    });
  }
  assert.deepEqual(asked, ["a/b aa anonymous", "a/b aa caller", "a/b aa caller"]);
});

test("the operator's credentials stand in for a caller without any", async () => {
  const { access, query } = checkerOf((caller) => (caller.kind === "configured" ? ok : challenged));
  assert.deepEqual(await access.check(query({ upstream: withPassword })), {
    kind: "allowed",
    isPublic: false,
    confirmed: true,
    size: 42,
  });
  assert.equal((await access.check(query())).kind, "refused");
});

test("another repository or digest is another question", async () => {
  const { access, asked, query } = checkerOf((_, repository) => (repository === "a/b" ? ok : { status: 404 }));
  assert.equal((await access.check(query())).kind, "allowed");
  assert.deepEqual(await access.check(query({ repository: "c/d" })), {
    kind: "refused",
    status: 404,
    challenge: undefined,
  });
  await access.check(query({ digest: parseDigest(`sha256:${"b".repeat(64)}`) }));
  assert.equal(asked.length, 3);
});

test("an answer holds a minute, then the origin is asked again", async () => {
  let status = 200;
  const { access, asked, clock, query } = checkerOf(() => ({ status }));
  await access.check(query());
  clock.now = 59_999;
  status = 404;
  assert.equal((await access.check(query())).kind, "allowed");
  assert.equal(asked.length, 1);
  clock.now = 60_000;
  assert.equal((await access.check(query())).kind, "refused");
  clock.now = 60_001 + 60_000;
  status = 200;
  assert.equal((await access.check(query())).kind, "allowed", "a refusal does not hold for ever either");
});

test("an allowance outlives the origin for an hour, a refusal does not", async () => {
  let down = false;
  const { access, clock, query } = checkerOf((_, repository) => {
    if (down) throw new RegistryError("unavailable", "no connection");
    return repository === "a/b" ? ok : { status: 404 };
  });
  await access.check(query());
  await access.check(query({ repository: "no" }));
  down = true;
  clock.now = 3_599_000;
  assert.deepEqual(await access.check(query()), { kind: "allowed", isPublic: true, confirmed: true, size: 42 });
  assert.equal((await access.check(query({ repository: "no" }))).kind, "unknown");
  assert.equal((await access.check(query({ repository: "new" }))).kind, "unknown");
  clock.now = 3_600_001;
  const verdict = await access.check(query());
  assert.ok(verdict.kind === "unknown" && verdict.error.code === "unavailable");
});

test("an origin that cannot be reached is left alone for two seconds", async () => {
  const { access, asked, clock, query } = checkerOf(() => {
    throw new RegistryError("timeout", "silence");
  });
  await access.check(query());
  await access.check(query({ repository: "x", authorization: "Basic y" }));
  assert.equal(asked.length, 1);
  clock.now = 2001;
  await access.check(query());
  assert.equal(asked.length, 2);
});

test("an origin that limits the anonymous only still hears a caller with credentials", async () => {
  for (const status of [429, 503]) {
    const { access, query } = checkerOf((caller) => (isAnonymous(caller) ? { status } : ok));
    assert.deepEqual(await access.check(query({ authorization: "Basic right" })), {
      kind: "allowed",
      isPublic: false,
      confirmed: true,
      size: 42,
    });
    const verdict = await access.check(query());
    assert.ok(verdict.kind === "unknown" && verdict.error.status === status);
  }
});

test("errors of any kind are a verdict; only the caller's own signal rejects", async () => {
  const { access, query } = checkerOf(() => {
    throw new TypeError("a bug");
  });
  assert.equal((await access.check(query())).kind, "unknown");
  const aborted = AbortSignal.abort(new Error("left"));
  await assert.rejects(access.check(query({ repository: "z", signal: aborted })), /left/);
});

const other = parseDigest(`sha256:${"b".repeat(64)}`);
const third = parseDigest(`sha256:${"c".repeat(64)}`);
const saysRight = (caller: Caller) => caller.kind === "caller" && caller.authorization === "Basic right";

test("a right is one to the repository: with the manifest known, a public image costs one question", async () => {
  const { access, asked, clock, query } = checkerOf(() => ok);
  access.learn(upstream, "a/b", [digest, other, third]);
  assert.deepEqual(await access.check(query()), { kind: "allowed", isPublic: true, confirmed: true, size: 42 });
  for (const named of [other, third]) {
    const verdict = await access.check(query({ digest: named, authorization: "Basic any" }));
    assert.deepEqual(verdict, { kind: "allowed", isPublic: true, confirmed: false, size: undefined });
  }
  assert.equal(asked.length, 1);
  clock.now = 60_000;
  await Promise.all([other, third].map((each) => access.check(query({ digest: each }))));
  assert.equal(asked.length, 3, "with the right gone each is asked about, and confirmed");
});

test("who was given the manifest just now has the right", async () => {
  const { access, asked, query } = checkerOf(() => ok);
  access.learn(upstream, "a/b", [digest], { caller: { kind: "caller", authorization: undefined } });
  assert.equal((await access.check(query())).kind, "allowed");
  assert.equal(asked.length, 0);
});

test("a manifest's word is not enough for a blob that is private here, nor for a caller's own right", async () => {
  const stolen = checkerOf((_caller, repository, asking) =>
    repository === "mine/own" && asking.hex === digest.hex ? { status: 404 } : ok,
  );
  // Some registries take manifests that name what the repository does not have.
  stolen.access.learn(upstream, "mine/own", [digest, other], { caller: { kind: "anonymous" } });
  const theft = stolen.query({ repository: "mine/own", isPrivateHere: true });
  assert.deepEqual(await stolen.access.check(theft), { kind: "refused", status: 404, challenge: undefined });

  const { access, asked, query } = checkerOf((caller) => (saysRight(caller) ? ok : challenged));
  access.learn(upstream, "a/b", [digest], { caller: { kind: "caller", authorization: "Basic right" } });
  const verdict = await access.check(query({ authorization: "Basic right" }));
  assert.ok(verdict.kind === "allowed" && verdict.confirmed && !verdict.isPublic);
  assert.deepEqual(asked, ["a/b aa anonymous", "a/b aa caller"]);
});

test("a reader of A gets nothing of B by naming B's digest under A", async () => {
  const { access, asked, query } = checkerOf((caller, repository, asking) => {
    if (!saysRight(caller)) return challenged;
    return (repository === "a/b") === (asking.hex === digest.hex) ? ok : { status: 404 };
  });
  const authorization = "Basic right";
  assert.equal((await access.check(query({ repository: "b/b", digest: other, authorization }))).kind, "allowed");
  assert.equal((await access.check(query({ authorization }))).kind, "allowed");
  for (let round = 0; round < 2; round++) {
    const theft = await access.check(query({ digest: other, authorization, isPrivateHere: true }));
    assert.deepEqual(theft, { kind: "refused", status: 404, challenge: undefined });
  }
  const before = asked.length;
  assert.equal((await access.check(query({ authorization }))).kind, "allowed", "its right to A is untouched");
  assert.equal(asked.length, before);
});

test("for a blob that is private here the caller is asked about first: one question", async () => {
  const { access, asked, clock, query } = checkerOf((caller) => (saysRight(caller) ? ok : challenged));
  const mine = query({ authorization: "Basic right", isPrivateHere: true });
  for (let round = 0; round < 3; round++) {
    assert.equal((await access.check(mine)).kind, "allowed");
    assert.equal((await access.check(query({ authorization: "Basic right" }))).kind, "allowed");
    assert.equal(asked.length, round + 1);
    clock.now += 60_000;
  }
  // So also for other blobs of a repository that has refused the anonymous.
  const closed = checkerOf((caller) => (saysRight(caller) ? ok : challenged));
  await closed.access.check(closed.query());
  await closed.access.check(closed.query({ digest: other, authorization: "Basic right" }));
  assert.deepEqual(closed.asked, ["a/b aa anonymous", "a/b bb caller"]);
});

test("a refusal is told again for ten seconds; what was missing may have been pushed", async () => {
  let now: Head = challenged;
  const { access, asked, clock, query } = checkerOf(() => now);
  await access.check(query());
  now = ok;
  clock.now = 9999;
  assert.deepEqual(await access.check(query()), { kind: "refused", status: 401, challenge: 'Basic realm="x"' });
  clock.now = 10_000;
  assert.equal((await access.check(query())).kind, "allowed");
  assert.equal(asked.length, 2);
  const missing = query({ repository: "new/one" });
  now = { status: 404 };
  assert.equal((await access.check(missing)).kind, "refused");
  now = ok;
  assert.equal((await access.check(missing)).kind, "allowed");
});

test("what the origin took away is not given back while it is down", async () => {
  for (const refusal of [challenged, { status: 403 }, { status: 404 }] as Head[]) {
    let answer: Head | "down" = ok;
    const { access, clock, query } = checkerOf((caller) => {
      if (answer === "down") throw new RegistryError("unavailable", "no connection");
      return saysRight(caller) ? answer : challenged;
    });
    const mine = query({ authorization: "Basic right", isPrivateHere: true });
    assert.equal((await access.check(mine)).kind, "allowed");
    clock.now += 60_000;
    answer = refusal;
    assert.equal((await access.check(mine)).kind, "refused");
    clock.now += 60_000;
    answer = "down";
    assert.equal((await access.check(mine)).kind, "unknown", String(refusal.status));
  }
});

test("always: each caller, each blob, each minute", async () => {
  const { access, asked, clock, query } = checkerOf(
    (caller) => (caller.kind === "caller" && caller.authorization === "Basic wrong" ? challenged : ok),
    { policy: "always" },
  );
  access.learn(upstream, "a/b", [digest, other], { caller: { kind: "anonymous" } });
  assert.deepEqual(await access.check(query()), { kind: "allowed", isPublic: true, confirmed: true, size: 42 });
  for (const name of ["one", "two"]) {
    const verdict = await access.check(query({ authorization: `Basic ${name}` }));
    assert.deepEqual(verdict, { kind: "allowed", isPublic: true, confirmed: true, size: 42 }, "public, and checked");
  }
  assert.equal((await access.check(query({ authorization: "Basic wrong" }))).kind, "refused");
  assert.deepEqual(asked, ["a/b aa anonymous", "a/b aa caller", "a/b aa caller", "a/b aa caller"]);
  await access.check(query({ digest: other, authorization: "Basic one" }));
  assert.equal(asked.length, 6, "another blob is asked about by itself");
  await access.check(query({ authorization: "Basic one" }));
  assert.equal(asked.length, 6);
  clock.now = 60_000;
  await access.check(query({ authorization: "Basic one" }));
  assert.equal(asked.length, 8);
});

test("always: private stays private, and the operator's credentials serve callers without any", async () => {
  const { access, query } = checkerOf((caller) => (isAnonymous(caller) ? challenged : ok), { policy: "always" });
  const allowed = { kind: "allowed", isPublic: false, confirmed: true, size: 42 };
  assert.deepEqual(await access.check(query({ authorization: "Basic x" })), allowed);
  assert.deepEqual(await access.check(query({ upstream: withPassword })), allowed);
  assert.equal((await access.check(query())).kind, "refused");
});

test("checkPublic uses no credentials", async () => {
  const { access, asked, query } = checkerOf((caller) => (isAnonymous(caller) ? challenged : ok));
  assert.equal((await access.checkPublic(query({ upstream: withPassword, authorization: "Basic x" }))).kind, "refused");
  assert.deepEqual(asked, ["a/b aa anonymous"]);
});

test("a manifest is asked for as such; what is learnt is as old as it is said to be", async () => {
  const { access, asked, clock, query } = checkerOf(() => ok);
  assert.equal(access.publicAge(query()), undefined);
  assert.equal((await access.check(query({ kind: "manifest" }))).kind, "allowed");
  assert.deepEqual(asked, ["a/b manifest aa anonymous"]);
  clock.now = 10_000;
  assert.equal(access.publicAge(query({ kind: "manifest" })), 10_000);
  clock.now = 100_000;
  access.learn(upstream, "c/d", [digest], { caller: { kind: "anonymous" }, ageMs: 50_000 });
  assert.equal(access.publicAge(query({ repository: "c/d" })), 50_000);
  clock.now = 110_000;
  assert.equal(access.publicAge(query({ repository: "c/d" })), undefined);
});

test("forget: the next who asks makes the origin speak, about that blob of that repository alone", async () => {
  let answer: Head = ok;
  const { access, asked, query } = checkerOf(() => answer);
  const places = [query(), query({ digest: other }), query({ repository: "c/d" })];
  for (const place of places) assert.equal((await access.check(place)).kind, "allowed");
  assert.equal(asked.length, 3);
  access.forget(query());
  answer = { status: 404 };
  assert.deepEqual(await access.check(query()), { kind: "refused", status: 404, challenge: undefined });
  assert.equal(asked.length, 4);
  for (const place of places.slice(1)) assert.equal((await access.check(place)).kind, "allowed");
  assert.equal(asked.length, 4, "what else is known is still known");
  answer = ok;
  assert.equal((await access.check(query())).kind, "allowed", "pushed again");
});

test("forget: a manifest's word goes as well, and what was never known is no matter", async () => {
  const { access, asked, query } = checkerOf(() => ok);
  access.forget(query());
  access.learn(upstream, "a/b", [digest], { caller: { kind: "anonymous" } });
  assert.equal((await access.check(query())).kind, "allowed");
  assert.equal(asked.length, 0);
  access.forget(query());
  await access.check(query());
  assert.equal(asked.length, 1);
});

test("an origin that keeps silent is asked once more within the time there is", async () => {
  let heads = 0;
  const access = new AccessChecker({
    origins: {
      headBlob: async (_, __, ___, { signal }) => {
        if (++heads > 1) return ok;
        return await new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      },
      headManifest: async () => ok,
    },
    log: silentLogger,
    timeoutMs: 100,
  });
  const query = { upstream, repository: "a/b", digest, authorization: undefined };
  assert.equal((await access.check(query)).kind, "allowed");
  assert.equal(heads, 2);
});
