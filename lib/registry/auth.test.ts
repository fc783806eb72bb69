/**
 * Tests of auth.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { Authenticator, mayAskRealm } from "./auth.ts";
import { RegistryError, type RegistryErrorCode } from "./errors.ts";
import { type FakeServer, fakeServer } from "./testing/fake-registry.ts";
import type { Upstream } from "./upstreams.ts";

const upstream: Upstream = { name: "127.0.0.1:1", base: new URL("http://127.0.0.1:1") };
const credentials = { username: "me", password: "p:ä" };
const challengeOf = (server: FakeServer, scope = "repository:a:pull") =>
  `Bearer realm="${server.url}/token?x=1",service="reg",scope="${scope}"`;

/** Runs with a token server and an authenticator whose clock `clock.now` stands still. */
async function withTokens(
  answer: Parameters<typeof fakeServer>[0],
  run: (rig: { server: FakeServer; auth: Authenticator; clock: { now: number } }) => Promise<void>,
  options: { timeoutMs?: number; maxTokens?: number } = {},
): Promise<void> {
  const server = await fakeServer(answer);
  const http = new HttpClient();
  const clock = { now: 1000 };
  try {
    await run({ server, clock, auth: new Authenticator({ http, now: () => clock.now, ...options }) });
  } finally {
    await http.close();
    await server.close();
  }
}

function tokens(field: "token" | "access_token" = "token", extra: object = {}): Parameters<typeof fakeServer>[0] {
  let count = 0;
  return (_req, res) => res.end(JSON.stringify({ [field]: `t${++count}`, ...extra }));
}

const failsWith = (code: RegistryErrorCode) => (error: unknown) =>
  error instanceof RegistryError && error.code === code;

test("Basic needs credentials", async () => {
  await withTokens(tokens(), async ({ auth, server }) => {
    const expected = `Basic ${Buffer.from("me:p:ä").toString("base64")}`;
    assert.strictEqual((await auth.answer(upstream, 'Basic realm="x"', { credentials }))?.header, expected);
    assert.strictEqual(auth.known(upstream, 'Basic realm="x"', credentials)?.header, expected);
    assert.strictEqual(await auth.answer(upstream, 'Basic realm="x"'), undefined);
    assert.strictEqual(await auth.answer(upstream, "Negotiate", { credentials }), undefined);
    assert.strictEqual(await auth.answer(upstream, "", { credentials }), undefined);
    assert.strictEqual(server.seen.length, 0);
  });
});

test("a token is fetched with service, scopes and credentials, and used again until it ends", async () => {
  await withTokens(tokens("token", { expires_in: 300 }), async ({ auth, server, clock }) => {
    const challenge = challengeOf(server, "repository:b:pull repository:a:pull,push");
    const first = await auth.answer(upstream, challenge, { credentials });
    assert.deepStrictEqual([first?.header, first?.fresh], ["Bearer t1", true]);
    const url = new URL(server.seen[0]?.url ?? "", "http://x");
    assert.deepStrictEqual(url.searchParams.getAll("scope"), ["repository:a:pull,push", "repository:b:pull"]);
    assert.strictEqual(url.searchParams.get("service"), "reg");
    assert.strictEqual(url.searchParams.get("account"), "me");
    assert.strictEqual(url.searchParams.get("x"), "1");
    assert.strictEqual(server.seen[0]?.headers.authorization, `Basic ${Buffer.from("me:p:ä").toString("base64")}`);

    clock.now += 289_000;
    const second = await auth.answer(upstream, challenge, { credentials });
    assert.deepStrictEqual([second?.header, second?.fresh], ["Bearer t1", false]);
    assert.strictEqual(auth.known(upstream, challenge, credentials)?.header, "Bearer t1");
    clock.now += 2_000;
    assert.strictEqual(auth.known(upstream, challenge, credentials), undefined);
    assert.strictEqual((await auth.answer(upstream, challenge, { credentials }))?.header, "Bearer t2");
  });
});

test("expires_in is 60 s when missing or senseless, and an hour at most", async () => {
  for (const [expires, goodFor, badAfter] of [
    [undefined, 53_000, 55_000],
    ["soon", 53_000, 55_000],
    [-5, 53_000, 55_000],
    [1e9, 3_580_000, 3_591_000],
    ["120", 109_000, 111_000],
  ] as const) {
    await withTokens(tokens("access_token", { expires_in: expires }), async ({ auth, server, clock }) => {
      const challenge = challengeOf(server);
      const start = clock.now;
      await auth.answer(upstream, challenge);
      clock.now = start + goodFor;
      assert.notStrictEqual(auth.known(upstream, challenge, undefined), undefined, `${expires}`);
      clock.now = start + badAfter;
      assert.strictEqual(auth.known(upstream, challenge, undefined), undefined, `${expires}`);
    });
  }
});

test("tokens are kept apart by registry, realm, service, scope and credentials", async () => {
  await withTokens(tokens(), async ({ auth, server }) => {
    const challenge = challengeOf(server);
    const other: Upstream = { name: "127.0.0.1:2", base: new URL("http://127.0.0.1:2") };
    const headers = [
      await auth.answer(upstream, challenge),
      await auth.answer(upstream, challenge, { credentials }),
      await auth.answer(upstream, challenge, { credentials: { ...credentials, password: "q" } }),
      await auth.answer(other, challenge),
      await auth.answer(upstream, challengeOf(server, "repository:b:pull")),
      await auth.answer(upstream, challenge.replace('"reg"', '"other"')),
    ].map((answer) => answer?.header);
    assert.deepStrictEqual(
      headers,
      ["t1", "t2", "t3", "t4", "t5", "t6"].map((token) => `Bearer ${token}`),
    );
    assert.strictEqual((await auth.answer(upstream, challenge))?.header, "Bearer t1");
  });
});

test("50 concurrent callers share one exchange, also its failure; the next call tries anew", async () => {
  let status = 503;
  await withTokens(
    (_req, res) => setTimeout(() => res.writeHead(status).end(JSON.stringify({ token: "t" })), 30),
    async ({ auth, server }) => {
      const callers = () => Array.from({ length: 50 }, () => auth.answer(upstream, challengeOf(server)));
      const failed = await Promise.allSettled(callers());
      assert.ok(failed.every((result) => result.status === "rejected" && failsWith("unavailable")(result.reason)));
      assert.strictEqual(server.seen.length, 1);
      status = 200;
      const answers = await Promise.all(callers());
      assert.ok(answers.every((answer) => answer?.header === "Bearer t"));
      assert.strictEqual(server.seen.length, 2);
    },
  );
});

test("a caller that leaves disturbs nobody; when the last one leaves, the token is there for the next", async () => {
  let release = () => {};
  await withTokens(
    (_req, res) => {
      release = () => res.end(JSON.stringify({ token: "t" }));
    },
    async ({ auth, server }) => {
      const leaver = new AbortController();
      const left = auth.answer(upstream, challengeOf(server), { signal: leaver.signal });
      const stays = auth.answer(upstream, challengeOf(server));
      while (server.seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      leaver.abort();
      await assert.rejects(left, failsWith("aborted"));
      release();
      assert.strictEqual((await stays)?.header, "Bearer t");

      const other = challengeOf(server, "repository:other:pull");
      const last = new AbortController();
      const alone = auth.answer(upstream, other, { signal: last.signal });
      while (server.seen.length === 1) await new Promise((resolve) => setTimeout(resolve, 2));
      last.abort();
      await assert.rejects(alone, failsWith("aborted"));
      const next = auth.answer(upstream, other);
      release();
      assert.strictEqual((await next)?.header, "Bearer t");
      assert.strictEqual(server.seen.length, 2);
    },
  );
});

test("an identity token is exchanged by POST", async () => {
  await withTokens(tokens("access_token"), async ({ auth, server }) => {
    const identity = { username: "<token>", password: "refresh&me" };
    assert.strictEqual(
      (await auth.answer(upstream, challengeOf(server), { credentials: identity }))?.header,
      "Bearer t1",
    );
    const seen = server.seen[0];
    assert.strictEqual(seen?.method, "POST");
    assert.strictEqual(seen.headers.authorization, undefined);
    assert.deepStrictEqual(Object.fromEntries(new URLSearchParams(seen.body)), {
      grant_type: "refresh_token",
      refresh_token: "refresh&me",
      client_id: "eagle",
      service: "reg",
      scope: "repository:a:pull",
    });
  });
});

test("a token server that says no is no error; one that is broken is", async () => {
  const cases: [number, string, RegistryErrorCode | undefined][] = [
    [400, "", undefined],
    [401, "", undefined],
    [403, "{}", undefined],
    [404, "", undefined],
    [429, "", "rate_limited"],
    [500, "", "unavailable"],
    [200, "no json", "protocol"],
    [200, "null", "protocol"],
    [200, "{}", "protocol"],
    [200, '{"token":5}', "protocol"],
    [200, '{"token":"a\\r\\nX-Evil: 1"}', "protocol"],
    [200, JSON.stringify({ token: "x".repeat(100_000) }), "protocol"],
    [200, " ".repeat(300_000), "protocol"],
  ];
  for (const [status, body, code] of cases) {
    await withTokens(
      (_req, res) => res.writeHead(status).end(body),
      async ({ auth, server }) => {
        const answer = auth.answer(upstream, challengeOf(server), { credentials });
        if (code === undefined) assert.strictEqual(await answer, undefined);
        else await assert.rejects(answer, failsWith(code), `${status} ${body.slice(0, 40)}`);
      },
    );
  }
});

test("a token server that hangs, before or within its answer, is given up", async () => {
  const hangs: Parameters<typeof fakeServer>[0][] = [() => {}, (_req, res) => res.write('{"token":')];
  for (const hang of hangs) {
    await withTokens(
      hang,
      async ({ auth, server }) => {
        await assert.rejects(auth.answer(upstream, challengeOf(server)), failsWith("timeout"));
      },
      { timeoutMs: 100 },
    );
  }
});

test("credentials go to https realms, or to http ones of plain registries and on loopback", async () => {
  const remote: Upstream = { name: "r", base: new URL("https://reg.example") };
  const plain: Upstream = { name: "p", base: new URL("http://reg.example"), plainHTTP: true };
  const allowed = (realm: string, of: Upstream) => mayAskRealm(new URL(realm), of);
  assert.ok(allowed("https://auth.example/token", remote));
  assert.ok(allowed("http://auth.example/token", plain));
  assert.ok(allowed("http://127.0.0.1:5/token", upstream));
  assert.ok(!allowed("http://auth.example/token", remote));
  assert.ok(!allowed("http://auth.example/token", upstream));
  assert.ok(!allowed("http://127.0.0.1:5/token", remote));
  assert.ok(!allowed("https://u:p@auth.example/token", remote));
  assert.ok(!allowed("file:///etc/passwd", plain));
  await withTokens(tokens(), async ({ auth, server }) => {
    assert.strictEqual(await auth.answer(remote, challengeOf(server), { credentials }), undefined);
    assert.strictEqual(await auth.answer(remote, 'Bearer realm="/token"', { credentials }), undefined);
    assert.strictEqual(server.seen.length, 0);
  });
});

test("a redirect of the token server takes no credentials along", async () => {
  await using other = await fakeServer(tokens());
  await withTokens(
    (_req, res) => res.writeHead(307, { location: `${other.url}/t` }).end(),
    async ({ auth, server }) => {
      assert.strictEqual((await auth.answer(upstream, challengeOf(server), { credentials }))?.header, "Bearer t1");
      assert.strictEqual(other.seen[0]?.headers.authorization, undefined);
    },
  );
  await withTokens(
    (_req, res) => res.writeHead(307, { location: "http://auth.example/t" }).end(),
    async ({ auth, server }) => {
      await assert.rejects(auth.answer(upstream, challengeOf(server), { credentials }), failsWith("protocol"));
    },
  );
});

test("a refused token is forgotten, and the cache is bounded", async () => {
  await withTokens(
    tokens(),
    async ({ auth, server }) => {
      const first = await auth.answer(upstream, challengeOf(server));
      first?.forget();
      assert.strictEqual((await auth.answer(upstream, challengeOf(server)))?.header, "Bearer t2");
      first?.forget();
      assert.strictEqual(auth.known(upstream, challengeOf(server), undefined)?.header, "Bearer t2");
      for (const name of ["b", "c"]) await auth.answer(upstream, challengeOf(server, `repository:${name}:pull`));
      assert.strictEqual(auth.known(upstream, challengeOf(server), undefined), undefined);
    },
    { maxTokens: 2 },
  );
});

test("a token server's no is believed for a moment: the many requests of a pull ask it once", async () => {
  let status = 403;
  await withTokens(
    (_req, res) => {
      if (status !== 200) res.writeHead(status);
      setTimeout(() => res.end(JSON.stringify({ token: "t" })), 5);
    },
    async ({ auth, server, clock }) => {
      const ask = (scope = "repository:a:pull") => auth.answer(upstream, challengeOf(server, scope), { credentials });
      const answers = await Promise.all(Array.from({ length: 100 }, () => ask()));
      assert.ok(answers.every((answer) => answer === undefined));
      assert.strictEqual(await ask(), undefined);
      assert.strictEqual(server.seen.length, 1);
      await ask("repository:b:pull");
      assert.strictEqual(server.seen.length, 2, "another scope is another question");
      status = 200;
      clock.now += 5000;
      assert.strictEqual((await ask())?.header, "Bearer t");
      assert.strictEqual(server.seen.length, 3);
    },
  );
});

test("a token server that failed, rather than refused, is asked again at once", async () => {
  let status = 503;
  await withTokens(
    (_req, res) => {
      if (status !== 200) res.writeHead(status);
      res.end(JSON.stringify({ token: "t" }));
    },
    async ({ auth, server }) => {
      await assert.rejects(auth.answer(upstream, challengeOf(server), { credentials }), failsWith("unavailable"));
      status = 200;
      assert.strictEqual((await auth.answer(upstream, challengeOf(server), { credentials }))?.header, "Bearer t");
    },
  );
});
