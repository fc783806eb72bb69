/** @module Tests of the tracker's routes: standard requests, hostile ones, heartbeats. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type BencodeValue, decodeBencode, latin1 } from "../../../lib/bencode/bencode.ts";
import { createMetrics } from "../../../lib/metrics/metrics.ts";
import { swarmKey } from "../../../lib/tracker/keys.ts";
import { createTrackerApp, type TrackerAppInit } from "./index.ts";

const key = Uint8Array.from({ length: 20 }, (_, i) => 255 - i);
const digest = (n: number) => `sha256:${n.toString(16).padStart(64, "0")}`;
const percent = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex").replace(/../g, "%$&");
/** Bytes above 127, because text encodings break them. */
const id = (n: number) => Uint8Array.from({ length: 20 }, (_, i) => (i === 0 ? n : 200 + i));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function tracker(init: TrackerAppInit = {}) {
  const clock = { ms: 0 };
  const app = createTrackerApp({ now: () => clock.ms, ...init });
  const get = async (target: string, remoteAddress = "10.0.0.1") =>
    app.request(`http://tracker${target}`, {}, { remoteAddress, target });
  const ask = async (target: string, remoteAddress?: string): Promise<Map<string, BencodeValue>> => {
    const response = await get(target, remoteAddress);
    assert.equal(response.status, 200);
    const value = decodeBencode(new Uint8Array(await response.arrayBuffer()));
    assert.ok(value instanceof Map);
    return value;
  };
  const announce = (n: number, more = "", from?: string) =>
    ask(`/announce?info_hash=${percent(key)}&peer_id=${percent(id(n))}&port=${6000 + n}&left=1${more}`, from);
  const beat = async (fields: Record<string, unknown>, remoteAddress = "10.0.0.1") => {
    const body = JSON.stringify({ peer: hex(id(1)), port: 7001, epoch: "e", lease: 60, seq: 1, ...fields });
    return app.request("/p2p/v1/holdings", { method: "POST", body }, { remoteAddress, target: "/p2p/v1/holdings" });
  };
  return { clock, app, get, ask, announce, beat };
}

const text = (value: BencodeValue | undefined) => (value instanceof Uint8Array ? latin1(value) : String(value));
const failure = (answer: Map<string, BencodeValue>) => text(answer.get("failure reason"));
const packedPorts = (answer: Map<string, BencodeValue>) => {
  const peers = answer.get("peers");
  assert.ok(peers instanceof Uint8Array);
  return Array.from({ length: peers.length / 6 }, (_, i) => peers[i * 6 + 4]! * 256 + peers[i * 6 + 5]!);
};
const listed = (answer: Map<string, BencodeValue>) => {
  const peers = answer.get("peers");
  assert.ok(Array.isArray(peers));
  return peers.map((peer) => {
    assert.ok(peer instanceof Map);
    const peerId = peer.get("peer id");
    assert.ok(peerId instanceof Uint8Array);
    return { ip: text(peer.get("ip")), port: peer.get("port"), peerId: hex(peerId) };
  });
};

describe("announce", () => {
  test("with dictionaries, with peer ids of any bytes", async () => {
    const { announce } = tracker();
    await announce(1, "", "::ffff:10.0.0.1");
    await announce(2, "", "2001:DB8::2");
    const answer = await announce(3);
    assert.deepEqual([...answer.keys()], ["complete", "incomplete", "interval", "peers"]);
    assert.deepEqual(
      new Set(listed(answer).map((peer) => JSON.stringify(peer))),
      new Set(
        [
          { ip: "10.0.0.1", port: 6001, peerId: hex(id(1)) },
          { ip: "2001:db8::2", port: 6002, peerId: hex(id(2)) },
        ].map((peer) => JSON.stringify(peer)),
      ),
    );
    assert.deepEqual([answer.get("complete"), answer.get("incomplete"), answer.get("interval")], [0, 3, 60]);
  });

  test("packed, IPv6 apart", async () => {
    const { announce } = tracker();
    await announce(1);
    await announce(2, "", "2001:db8::2");
    const answer = await announce(3, "&compact=1");
    assert.deepEqual(packedPorts(answer), [6001]);
    const peers6 = answer.get("peers6");
    assert.ok(peers6 instanceof Uint8Array);
    assert.equal(hex(peers6), "20010db80000000000000000000000021772");
    assert.equal((await tracker().announce(1, "&compact=1")).has("peers6"), false);
  });

  test("the address is the socket's, whatever the query says", async () => {
    const { announce } = tracker();
    await announce(1, "&ip=1.2.3.4&ipv4=1.2.3.4&addr=1.2.3.4:1&host=1.2.3.4&wanted=0");
    assert.equal(listed(await announce(2))[0]!.ip, "10.0.0.1");
  });

  test("zone, left, event, numwant", async () => {
    const { announce } = tracker();
    for (let n = 1; n <= 100; n += 1) {
      await announce(n, `${n === 7 ? "&event=completed" : ""}${n > 97 ? "&zone=r%C3%A4ck" : ""}`);
    }
    const near = (await announce(200, "&zone=r%C3%A4ck&numwant=100")).get("peers");
    assert.ok(Array.isArray(near));
    const ports = near.map((peer) => (peer instanceof Map ? peer.get("port") : 0));
    assert.deepEqual(new Set(ports.slice(0, 3)), new Set([6098, 6099, 6100]));
    assert.equal(ports[3], 6007);
    assert.equal(ports.length, 100);
    const count = async (numwant: string) => packedPorts(await announce(200, `&compact=1${numwant}`)).length;
    assert.equal(await count(""), 50);
    assert.equal(await count("&numwant=-1"), 50);
    assert.equal(await count("&numwant=x"), 50);
    assert.equal(await count("&numwant=0"), 0);
    assert.equal(await count("&numwant=7"), 7);
    assert.equal(await count("&numwant=1&numwant=2"), 1);
    for (let n = 101; n <= 400; n += 1) await announce(n);
    assert.equal(await count("&numwant=1e9"), 200);
    assert.equal(await count(`&numwant=${"9".repeat(400)}`), 200);
    assert.deepEqual(packedPorts(await announce(1, "&event=stopped&compact=1")), []);
    assert.equal((await announce(2)).get("incomplete"), 398);
  });

  test("Eagle's own peers are told to come soon while they download, and are forgotten sooner", async () => {
    const { clock, announce } = tracker();
    assert.equal((await announce(1, "&eagle=1")).get("interval"), 10);
    assert.equal((await announce(2, "&eagle=1&left=0")).get("interval"), 10, "a list is no number");
    assert.equal((await announce(3)).get("interval"), 60);
    assert.equal((await announce(4, "&eagle=1&event=completed")).get("interval"), 60);
    clock.ms = 36_000;
    assert.equal((await announce(5)).get("incomplete"), 2);
    clock.ms = 600_000;
    assert.equal((await announce(6)).get("incomplete"), 2);
  });

  test("hostile requests get a reason, and nothing is remembered", async () => {
    const { ask, app, get } = tracker();
    const good: Record<string, string> = { info_hash: percent(key), peer_id: percent(id(1)), port: "1", left: "1" };
    const query = (changes: Record<string, string | undefined>) =>
      Object.entries({ ...good, ...changes })
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name}=${value}`)
        .join("&");
    const bad: [Record<string, string | undefined>, RegExp][] = [
      [{ info_hash: undefined }, /info_hash/],
      [{ info_hash: "" }, /info_hash/],
      [{ info_hash: percent(key.subarray(1)) }, /info_hash/],
      [{ info_hash: "%41".repeat(4000) }, /info_hash/],
      [{ info_hash: `${percent(key)}&info_hash=${percent(key)}` }, /info_hash/],
      [{ peer_id: undefined }, /peer_id/],
      [{ peer_id: "__proto__" }, /peer_id/],
      [{ port: undefined }, /port/],
      [{ port: "0" }, /port/],
      [{ port: "-1" }, /port/],
      [{ port: "65536" }, /port/],
      [{ port: "1.5" }, /port/],
      [{ port: "1&port=2" }, /port/],
      [{ event: "__proto__" }, /event/],
      [{ event: "error" }, /event/],
      [{ event: "started&event=stopped" }, /event/],
      [{ x: "y".repeat(20_000) }, /too long/],
      [{ x: "y".repeat(10_000_000) }, /too long/],
    ];
    for (const [changes, reason] of bad) {
      const answer = await ask(`/announce?${query(changes)}`);
      assert.match(failure(answer), reason, JSON.stringify(changes).slice(0, 100));
    }
    assert.match(failure(await ask("/announce")), /info_hash/);
    assert.match(failure(await ask(`/announce?${query({})}`, "")), /address/);
    assert.match(failure(await ask(`/announce?${query({})}`, "unix:/socket")), /address/);
    const bare = await app.request(`http://tracker/announce?${query({})}`);
    assert.equal(bare.status, 200);
    assert.match(await (await get("/metrics")).text(), /no metrics/);
    const scrape = await ask(`/scrape?info_hash=${percent(key)}`);
    const files = scrape.get("files");
    assert.ok(files instanceof Map);
    assert.equal((files.get(latin1(key)) as Map<string, BencodeValue>).get("incomplete"), 0);
    // Odd, but harmless: taken.
    for (const changes of [
      { left: "-5" },
      { left: "x" },
      { left: "1e400" },
      { zone: "z".repeat(500) },
      { compact: "2" },
    ]) {
      assert.ok((await ask(`/announce?${query(changes)}`)).has("peers"), JSON.stringify(changes));
    }
  });

  test("a question mark inside the query, and a target in absolute form", async () => {
    const { ask } = tracker();
    const odd = percent(key).replace("%ff", "?");
    const base = `peer_id=${percent(id(1))}&port=1&left=1`;
    assert.ok((await ask(`/announce?${base}&info_hash=${odd}`)).has("peers"));
    assert.ok(
      (await ask(`http://tracker/announce?${base}&info_hash=${odd}`.replace("http://tracker", ""))).has("peers"),
    );
  });
});

describe("scrape", () => {
  test("given keys only, under keys of 20 bytes", async () => {
    const { announce, ask } = tracker();
    await announce(1);
    await announce(2, "&event=completed");
    const other = key.slice().reverse();
    const answer = await ask(`/scrape?info_hash=${percent(other)}&info_hash=${percent(key)}&info_hash=${percent(key)}`);
    const files = answer.get("files");
    assert.ok(files instanceof Map);
    assert.deepEqual([...files.keys()], [latin1(key), latin1(other)].sort());
    assert.deepEqual(
      files.get(latin1(key)),
      new Map([
        ["complete", 1],
        ["downloaded", 1],
        ["incomplete", 1],
      ]),
    );
    assert.match(failure(await ask("/scrape")), /info_hash/);
    assert.match(failure(await ask("/scrape?info_hash=short")), /info_hash/);
    assert.match(failure(await ask(`/scrape?${`info_hash=${"a".repeat(20)}&`.repeat(300)}`)), /more than 200/);
  });
});

describe("holdings", () => {
  test("a holder is found under K1, by its socket's address", async () => {
    const { beat, ask } = tracker();
    const answer = await beat({ add: [digest(1)], zone: "z", host: "10.9.9.9" }, "::ffff:10.0.0.7");
    assert.deepEqual(await answer.json(), { lease: 60, resync: false });
    const k1 = `/announce?info_hash=${percent(swarmKey(digest(1)))}&peer_id=${percent(id(2))}&port=1&left=1`;
    assert.deepEqual(listed(await ask(k1)), [{ ip: "10.0.0.7", port: 7001, peerId: hex(id(1)) }]);
    await beat({ seq: 2, stopped: true }, "10.0.0.7");
    assert.deepEqual(listed(await ask(k1)), []);
  });

  test("on loopback another loopback address may be named", async () => {
    const { beat, ask } = tracker();
    await beat({ add: [digest(1)], host: "127.0.0.9" }, "127.0.0.1");
    const k1 = `/announce?info_hash=${percent(swarmKey(digest(1)))}&peer_id=${percent(id(2))}&port=1&left=1`;
    assert.equal(listed(await ask(k1, "127.0.0.1"))[0]!.ip, "127.0.0.9");
  });

  test("nowhere else, and no other kind of address", async () => {
    for (const [host, remote] of [
      ["10.0.0.9", "127.0.0.1"],
      ["127.0.0.9", "10.0.0.1"],
      ["localhost", "127.0.0.1"],
    ] as const) {
      const { beat, ask } = tracker();
      await beat({ add: [digest(1)], host }, remote);
      const k1 = `/announce?info_hash=${percent(swarmKey(digest(1)))}&peer_id=${percent(id(2))}&port=1&left=1`;
      assert.equal(listed(await ask(k1, "127.0.0.1"))[0]!.ip, remote);
    }
  });

  test("leases are bounded both ways, and end", async () => {
    const { clock, beat, ask } = tracker();
    const count = async () => {
      const files = (await ask(`/scrape?info_hash=${percent(swarmKey(digest(1)))}`)).get("files");
      assert.ok(files instanceof Map);
      return ([...files.values()][0] as Map<string, BencodeValue>).get("complete");
    };
    assert.deepEqual(await (await beat({ lease: 1e12, add: [digest(1)] })).json(), { lease: 300, resync: false });
    clock.ms = 299_999;
    assert.equal(await count(), 1);
    clock.ms = 300_000;
    assert.equal(await count(), 0);
    assert.deepEqual(await (await beat({ lease: 0.1, epoch: "f" })).json(), { lease: 5, resync: false });
    assert.deepEqual(await (await beat({ seq: 9, epoch: "g" })).json(), { lease: 60, resync: true });
  });

  test("what is no heartbeat is refused", async () => {
    const { app, beat } = tracker();
    assert.equal((await beat({ port: 0 })).status, 400);
    assert.equal((await beat({}, "")).status, 400);
    assert.equal((await beat({ add: Array(5001).fill(digest(1)) })).status, 400);
    const post = (body: BodyInit) =>
      app.request("/p2p/v1/holdings", { method: "POST", body }, { remoteAddress: "::1" });
    assert.equal((await post("")).status, 400);
    assert.equal((await post("[".repeat(500_000))).status, 400);
    assert.equal((await post("x".repeat(1024 * 1024 + 1))).status, 413);
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1;
        controller.enqueue(new Uint8Array(64 * 1024));
      },
    });
    const streamed = { method: "POST", body: endless, duplex: "half" };
    const request = new Request("http://tracker/p2p/v1/holdings", streamed);
    assert.equal((await app.fetch(request, { remoteAddress: "::1" })).status, 413);
    assert.ok(sent < 30);
    assert.equal((await app.request("/p2p/v1/holdings", {}, {})).status, 404);
  });
});

describe("health", () => {
  test("ready until told to stop; counts what it did", async () => {
    let ready = true;
    const { get, announce, ask, beat } = tracker({ ready: () => ready, metrics: createMetrics("tracker") });
    await announce(1);
    await ask("/announce?x=1");
    await beat({ add: [digest(1)] });
    assert.equal(await (await get("/healthz")).text(), "ok\n");
    assert.equal((await get("/readyz")).status, 200);
    ready = false;
    assert.equal((await get("/readyz")).status, 503);
    const metrics = await (await get("/metrics")).text();
    assert.match(metrics, /eagle_announces_total\{result="ok",app="tracker"\} 1/);
    assert.match(metrics, /eagle_announces_total\{result="refused",app="tracker"\} 1/);
    assert.match(metrics, /^eagle_tracker_swarms 2$/m);
    assert.equal((await get("/")).status, 404);
  });

  test("a store that fails is a failure of the request alone", async () => {
    const broken = () => Promise.reject(new Error("store is down"));
    const store = { announce: broken, scrape: broken, holdings: broken, sizes: broken, close: async () => {} };
    const { announce, ask, beat } = tracker({ store });
    assert.match(failure(await announce(1)), /store is down/);
    assert.match(failure(await ask(`/scrape?info_hash=${percent(key)}`)), /store is down/);
    assert.equal((await beat({})).status, 500);
  });
});
