/** @module Tests of who may have a blob. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { parseDigest } from "../registry/digest.ts";
import { RegistryError } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import { Upstreams } from "../registry/upstreams.ts";
import { AccessChecker, type AccessQuery } from "./access.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const upstream = new Upstreams({ origin: "http://127.0.0.1:5000" }).default!;
const withPassword = new Upstreams({
  origin: "http://127.0.0.1:5000",
  registries: { "127.0.0.1:5000": { username: "u", password: "p", plainHTTP: true } },
}).default!;

type Head = Awaited<ReturnType<OriginClient["headBlob"]>>;

/** A checker over an origin that answers as told, on a clock that the test moves. */
function checkerOf(answer: (caller: Caller, repository: string) => Head | Promise<Head>) {
  const asked: string[] = [];
  const clock = { now: 0 };
  const access = new AccessChecker({
    origins: {
      async headBlob(_, repository, asking, { caller }) {
        asked.push(`${repository} ${asking.hex.slice(0, 2)} ${caller.kind}`);
        return answer(caller, repository);
      },
    },
    log: silentLogger,
    now: () => clock.now,
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
  for (const verdict of verdicts) assert.deepEqual(verdict, { kind: "allowed", isPublic: true, size: 42 });
  assert.equal(asked.length, 1);
});

test("a private blob is the caller's alone: its credentials are asked about, nobody else profits", async () => {
  const { access, asked, query } = checkerOf((caller) =>
    caller.kind === "caller" && caller.authorization === "Basic right" ? ok : challenged,
  );
  assert.deepEqual(await access.check(query({ authorization: "Basic right" })), {
    kind: "allowed",
    isPublic: false,
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
  assert.deepEqual(await access.check(query()), { kind: "allowed", isPublic: true, size: 42 });
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
