/**
 * @module A poisoned tracker sends a host to an attacker: he learns no secret, nothing that opens another door, no
 * credentials, and not a byte.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { encodeBencode } from "../../lib/bencode/bencode.ts";
import { type FakeServer, fakeServer } from "../../lib/registry/testing/fake-registry.ts";
import { randomBytes, startCluster } from "./cluster.ts";
import { get } from "./http-get.ts";

const MiB = 1024 * 1024;
const secret = "a secret of this cluster";
const password = "right";
const right = `Basic ${Buffer.from(`user:${password}`).toString("base64")}`;

/** A tracker that knows one peer for every blob: the attacker. */
function poisonedTracker(attacker: FakeServer): Promise<FakeServer> {
  const [host = "", port = ""] = attacker.authority.split(":");
  const peers = [
    new Map<string, string | number>([
      ["ip", host],
      ["port", Number(port)],
      ["peer id", "-XX0001-abcdefghijkl"],
    ]),
  ];
  const body = Buffer.from(
    encodeBencode(
      new Map<string, never>([
        ["interval", 10],
        ["peers", peers],
      ] as never),
    ),
  );
  return fakeServer((req, res) => {
    if (req.url?.startsWith("/announce")) return res.end(body);
    res.end(JSON.stringify({ lease: 60, resync: false }));
  });
}

async function raw(port: number, head: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(`${head}\r\nConnection: close\r\n\r\n`);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("latin1");
}

test("what a lying tracker and its peer are told is no use to them", async () => {
  const attacker = await fakeServer((_, res) => res.writeHead(503, { "content-length": 0 }).end());
  const tracker = await poisonedTracker(attacker);
  const cluster = await startCluster({ proxies: 1, cluster: { secret } });
  try {
    const blob = cluster.registry.put(randomBytes(9 * MiB, 91), { repository: "team/secret", authorization: right });
    const headers = { authorization: right };
    // The victim holds the blob, and believes the right tracker; the other proxy believes the poisoned one.
    const victim = cluster.proxies[0]!;
    assert.ok((await get(cluster.blobUrl(victim, blob), { headers })).whole);
    const misled = await cluster.addProxy(1, { clientCfg: { trackers: [tracker.url], seeders: [] } });
    const answer = await get(cluster.blobUrl(misled, blob), { headers });
    assert.ok(answer.whole && answer.body.equals(blob.bytes), "the pull goes on without them");

    const caught = attacker.seen.filter((request) => request.headers.authorization !== undefined);
    assert.ok(caught.length > 0, "the attacker was asked, signed");
    const told = JSON.stringify([...attacker.seen, ...tracker.seen]);
    for (const word of [secret, password, right, right.slice(6)]) assert.ok(!told.includes(word), word);
    assert.ok(!told.includes("eagle-authorization"));

    const doors = [victim.peerPort, misled.peerPort, Number(new URL(cluster.seeder!.url).port)];
    for (const { method, url, headers: sent } of [...caught, ...tracker.seen]) {
      for (const port of doors) {
        for (const host of [sent.host, `127.0.0.1:${port}`, `localhost:${port}`]) {
          const head = `${method} ${url} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${sent.authorization ?? ""}`;
          const got = await raw(port, `${head}\r\nContent-Length: 0`);
          assert.match(got, /^HTTP\/1\.1 4\d\d /, `${head} -> ${got.slice(0, 200)}`);
        }
      }
    }
    // The same door opens to a request that was signed for it: the attempts fail for their signature alone.
    const good = await cluster.addProxy(2);
    const before = cluster.registry.sent;
    assert.ok((await get(cluster.blobUrl(good, blob), { headers })).whole);
    assert.equal(cluster.registry.sent, before);
  } finally {
    await cluster[Symbol.asyncDispose]();
    await tracker.close();
    await attacker.close();
  }
});

test("a stranger neither finds nor enters the swarms of a closed cluster at its tracker", async () => {
  const cluster = await startCluster({ proxies: 1, cluster: { secret } });
  try {
    const blob = cluster.registry.put(randomBytes(2 * MiB, 92));
    assert.ok((await get(cluster.blobUrl(cluster.proxies[0]!, blob))).whole);
    const message = { peer: "a".repeat(40), port: 1, epoch: "e", lease: 60, seq: 1, add: [blob.digest], remove: [] };
    const url = `${cluster.tracker.url}/p2p/v1/holdings`;
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(message) });
    assert.equal(answer.status, 401);
    assert.match(await answer.text(), /cluster\.secret/);
    const ids = `info_hash=${"%00".repeat(20)}&peer_id=${"a".repeat(20)}&port=1&left=1&eagle=1`;
    const refused = await fetch(`${cluster.tracker.url}/announce?${ids}`);
    assert.match(await refused.text(), /failure reason.*cluster\.secret/);
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
});
