/** @module Tests of how parts know each other, over real connections. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { readBytes } from "../http/read-bytes.ts";
import { type Listener, type ServeOptions, serve } from "../http/server.ts";
import { AS_HEADER, ClusterAuth } from "./cluster-auth.ts";
import { ClusterHttp } from "./cluster-http.ts";
import { isPartNodeRequest, isPartRequest } from "./received.ts";
import { clusterCa, partCertificate, strangerCertificate } from "./testing/certificates.ts";

const secret = "a secret of the cluster";
const signing = (changes: { secret?: string; previousSecret?: string; now?: () => number } = {}) =>
  new ClusterAuth({ secret, ...changes });

/** A part that answers "part" or "stranger", by a fetch handler and, below /node, by a Node one. */
function listen(cluster: ClusterAuth, options: Partial<ServeOptions> = {}): Promise<Listener> {
  const tls = cluster.serverTls();
  return serve({
    host: "127.0.0.1",
    port: 0,
    node: (req, res, next) => {
      if (!req.url?.startsWith("/node")) return next();
      res.setHeader("content-type", "text/plain");
      res.end(isPartNodeRequest(cluster, req) ? "part" : "stranger");
    },
    fetch: (request, env) => new Response(isPartRequest(cluster, request, env) ? "part" : "stranger"),
    ...(tls ? { tls } : {}),
    ...options,
  });
}

async function ask(url: string, cluster: ClusterAuth, init: { asPart?: boolean; method?: string } = {}) {
  const { asPart = true, method = "GET" } = init;
  const http = new HttpClient();
  try {
    const { body } = await new ClusterHttp(http, cluster, { asPart }).request(new URL(url), { method });
    return Buffer.from(await readBytes(body, 1000)).toString();
  } finally {
    await http.close();
  }
}

/** Sends a head as it is. */
async function raw(port: number, head: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(`${head}\r\nConnection: close\r\n\r\n`);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

test("a part is known by its secret, whoever else is a stranger", async () => {
  const listener = await listen(signing());
  try {
    for (const path of ["/", "/node", "/p2p/v1/blobs/sha256:ab?x=%2F&y=b", "/node?x=a%20b"]) {
      const url = listener.url + path;
      assert.equal(await ask(url, signing()), "part", path);
      assert.equal(await ask(url, signing(), { method: "POST" }), "part", path);
      assert.equal(await ask(url, new ClusterAuth()), "stranger", path);
      assert.equal(await ask(url, signing({ secret: "another secret" })), "stranger", path);
      assert.equal(await ask(url, signing(), { asPart: false }), "stranger", path);
      assert.equal(await ask(url, signing({ now: () => Date.now() - 301_000 })), "stranger", path);
      assert.equal(await ask(url, signing({ now: () => Date.now() + 310_000 })), "stranger", path);
      assert.equal(await ask(url, signing({ now: () => Date.now() - 290_000 })), "part", path);
    }
    assert.equal(await ask(listener.url.replace("127.0.0.1", "localhost"), signing()), "part", "by a configured name");
  } finally {
    await listener.close({ graceMs: 0 });
  }
});

test("while a secret is changed, both are good at whoever knows both", async () => {
  const next = "the next secret of all";
  const listener = await listen(signing({ previousSecret: next }));
  try {
    assert.equal(await ask(listener.url, signing({ secret: next, previousSecret: secret })), "part");
    assert.equal(await ask(listener.url, signing()), "part");
    assert.equal(await ask(listener.url, signing({ secret: "a third secret" })), "stranger");
  } finally {
    await listener.close({ graceMs: 0 });
  }
});

test("what one host was sent is no use at another, in any disguise", async () => {
  const cluster = signing();
  const victim = await listen(cluster);
  let caught = "";
  const attacker = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (request) => {
      caught = request.headers.get("authorization") ?? "";
      return new Response("thanks");
    },
  });
  try {
    await ask(`${attacker.url}/blob`, cluster);
    assert.match(caught, /^Eagle \d+\.[0-9a-f]{64}$/);
    const [a, v] = [`127.0.0.1:${attacker.port}`, `127.0.0.1:${victim.port}`];
    const attempts = [
      `GET /blob HTTP/1.1\r\nHost: ${v}`,
      `GET /blob HTTP/1.1\r\nHost: ${a}`,
      `GET http://${a}/blob HTTP/1.1\r\nHost: ${v}`,
      `GET http://${a}/blob HTTP/1.1\r\nHost: ${a}`,
      `GET /blob HTTP/1.1\r\nHost: ${a}.`,
      `GET /blob HTTP/1.1\r\nHost: x@${a}`,
      `GET /node HTTP/1.1\r\nHost: ${a}`,
    ];
    for (const head of attempts)
      assert.doesNotMatch(await raw(victim.port, `${head}\r\nAuthorization: ${caught}`), /\bpart\b/, head);
    const own = cluster.headers("GET", new URL(`http://${v}/blob`)).authorization;
    const right = `GET /blob HTTP/1.1\r\nHost: ${v}\r\nAuthorization: ${own}`;
    assert.match(await raw(victim.port, right), /\bpart\b/, "the attempts are shaped rightly");
    assert.doesNotMatch(await raw(victim.port, right.replace("/blob", "/other")), /\bpart\b/);
    assert.doesNotMatch(await raw(victim.port, right.replace("GET", "POST")), /\bpart\b/);
  } finally {
    await victim.close({ graceMs: 0 });
    await attacker.close({ graceMs: 0 });
  }
});

test("with certificates a part is who has one of the cluster's CA", async () => {
  const own = { ca: clusterCa, own: partCertificate };
  const cluster = new ClusterAuth({ tls: own });
  assert.ok(cluster.closed && cluster.isMutual && cluster.scheme === "https");
  const listener = await listen(cluster);
  try {
    for (const path of ["/", "/node"]) {
      const url = listener.url + path;
      assert.equal(await ask(url, cluster), "part");
      assert.equal(
        await ask(url, cluster, { asPart: false }),
        "stranger",
        "a certificate alone asks for nothing private",
      );
      assert.equal(await ask(url, new ClusterAuth({ tls: { ca: clusterCa } })), "stranger");
      const other = new ClusterAuth({ tls: { ca: clusterCa, own: strangerCertificate } });
      assert.equal(await ask(url, other), "stranger");
      // A secret alone does not help where none is known.
      assert.equal(await ask(url, new ClusterAuth({ secret, tls: { ca: clusterCa } })), "stranger");
    }
    await assert.rejects(ask(listener.url, new ClusterAuth()), "the listener's certificate is checked");
  } finally {
    await listener.close({ graceMs: 0 });
  }
});

test("with secret and TLS either is enough", async () => {
  const cluster = new ClusterAuth({ secret, tls: { ca: clusterCa, own: partCertificate } });
  const listener = await listen(cluster);
  try {
    assert.equal(await ask(listener.url, new ClusterAuth({ secret, tls: { ca: clusterCa } })), "part");
    assert.equal(await ask(listener.url, new ClusterAuth({ tls: cluster.tls })), "part");
  } finally {
    await listener.close({ graceMs: 0 });
  }
});

test("certificates without a CA of the cluster show nobody who is a part", () => {
  const cluster = new ClusterAuth({ tls: { own: partCertificate } });
  assert.ok(!cluster.closed);
  const by = { localAddress: "127.0.0.1", localPort: 1, secure: true, certified: true };
  const request = { method: "GET", authority: "127.0.0.1:1", target: "/", authorization: undefined, as: undefined };
  assert.equal(cluster.isPart(request, by), false);
});

test("without anything nothing is sent and nobody is a part", () => {
  const open = new ClusterAuth();
  assert.deepEqual(open.headers("GET", new URL("http://127.0.0.1:1/")), {});
  assert.equal(open.webSeedToken("sha256:ab"), undefined);
  assert.equal(open.isWebSeedToken("", "sha256:ab"), false);
  assert.deepEqual(signing().headers("GET", new URL("http://127.0.0.1:1/"), { asPart: false }), {
    [AS_HEADER]: "anyone",
  });
});

test("an operator hears of refused signatures once a minute, without the signature", () => {
  const warnings: [string, unknown][] = [];
  const clock = { now: 1_790_000_000_000 };
  const log = {
    debug() {},
    info() {},
    warn: (message: string, fields?: unknown) => void warnings.push([message, fields]),
    error() {},
    child: () => log,
  };
  const cluster = new ClusterAuth({ secret, log, now: () => clock.now });
  const url = new URL("http://127.0.0.1:1/x");
  const late = new ClusterAuth({ secret, now: () => clock.now - 400_000 });
  const { authorization } = late.headers("GET", url);
  const by = { localAddress: "127.0.0.1", localPort: 1, secure: false };
  const request = { method: "GET", authority: url.host, target: "/x", authorization, as: undefined };
  for (let round = 0; round < 10; round++) assert.equal(cluster.isPart(request, by), false);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]![0], /clocks/);
  assert.ok(!JSON.stringify(warnings).includes(authorization!.slice(-64)));
  clock.now += 60_000;
  cluster.isPart(request, by);
  assert.equal(warnings.length, 2);
});
