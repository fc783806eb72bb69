/** @module Tests of announcing: trackers that are dead, mute, hostile; tiers; what is asked. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { type BencodeInput, encodeBencode } from "../bencode/bencode.ts";
import { packAddress } from "./address.ts";
import { TrackerClient, TrackerError, type TrackerErrorCode } from "./client.ts";
import { type FakeAnswer, fakeTracker } from "./fake-tracker.ts";

const peerId = Uint8Array.from({ length: 20 }, (_, i) => 240 + (i % 16));
const key = Uint8Array.from({ length: 20 }, (_, i) => i * 13);
const dead = new URL("http://127.0.0.1:1");

const answer =
  (fields: Record<string, BencodeInput>): FakeAnswer =>
  (res) =>
    res.end(encodeBencode(new Map(Object.entries(fields))));
const peers = (...hosts: string[]) =>
  answer({ interval: 30, peers: Buffer.concat(hosts.map((h) => packAddress(h, 7))) });
const mute: FakeAnswer = () => {};
const code = (wanted: TrackerErrorCode) => (error: unknown) => error instanceof TrackerError && error.code === wanted;

type Options = Partial<ConstructorParameters<typeof TrackerClient>[0]>;

async function withClient<T>(
  trackers: URL[][],
  use: (client: TrackerClient) => Promise<T>,
  options: Options = {},
): Promise<T> {
  const client = new TrackerClient({ trackers, peerId, port: 6006, timeoutMs: 2000, ...options });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

describe("TrackerClient", () => {
  test("asks as BEP 3 wants, with every byte of the key", async () => {
    await using tracker = await fakeTracker(peers());
    const passkey = new URL(`${tracker.url}x/announce?passkey=1`);
    await withClient(
      [[passkey]],
      (client) => client.announce(key, { event: "started", left: 5, uploaded: 1, downloaded: 2, numwant: 9 }),
      { zone: "rack 1/ö" },
    );
    const { target, query } = tracker.asked[0]!;
    assert.ok(target.startsWith("/x/announce?passkey=1&info_hash=%00%0d%1a%27"), target);
    assert.ok(target.includes(`&peer_id=${"%f0%f1%f2%f3%f4%f5%f6%f7%f8%f9%fa%fb%fc%fd%fe%ff"}%f0%f1%f2%f3&`), target);
    const rest = ["port", "compact", "zone", "uploaded", "downloaded", "left", "event", "numwant"];
    assert.deepEqual(
      rest.map((name) => query.get(name)),
      ["6006", "0", "rack 1/ö", "1", "2", "5", "started", "9"],
    );
  });

  test("a base URL means /announce", async () => {
    await using tracker = await fakeTracker(peers());
    await withClient([[tracker.url]], (client) => client.announce(key, { left: 0 }));
    assert.ok(tracker.asked[0]!.target.startsWith("/announce?info_hash="));
    assert.equal(tracker.asked[0]!.query.has("event"), false);
  });

  test("merges the trackers of a tier; leaves out itself", async () => {
    await using one = await fakeTracker(peers("10.0.0.1", "10.0.0.2"));
    await using two = await fakeTracker(
      answer({
        interval: 20,
        complete: 4,
        peers: [
          new Map<string, BencodeInput>([
            ["ip", "10.0.0.9"],
            ["port", 1],
            ["peer id", peerId],
          ]),
          new Map<string, BencodeInput>([
            ["ip", "10.0.0.2"],
            ["port", 7],
            ["peer id", new Uint8Array(20)],
          ]),
        ],
      }),
    );
    const got = await withClient([[one.url, two.url]], (client) => client.announce(key, { left: 1 }));
    assert.equal(got.intervalMs, 20_000);
    assert.equal(got.complete, 4);
    assert.deepEqual(
      new Map(got.peers.map(({ host, peerId: id }) => [host, id])),
      new Map<string, string | undefined>([
        ["10.0.0.1", undefined],
        ["10.0.0.2", "00".repeat(20)],
      ]),
    );
  });

  test("a dead or mute tracker beside a live one costs little, and is left alone for a while", async () => {
    await using live = await fakeTracker(peers("10.0.0.1"));
    await using silent = await fakeTracker(mute);
    let ms = 0;
    const results: string[] = [];
    const metrics = { announces: { inc: ({ result }: { result: string }) => results.push(result) } };
    await withClient(
      [[dead, silent.url, live.url]],
      async (client) => {
        // A clock that stands still: back-off does not end by itself.
        const first = await client.announce(key, { left: 1 });
        assert.equal(first.peers.length, 1);
        while (silent.asked.length < 1 || !results.includes("timeout")) await new Promise((r) => setTimeout(r, 10));
        await Promise.all([1, 2, 3].map(() => client.announce(key, { left: 1 })));
        assert.equal(silent.asked.length, 1);
        assert.equal(live.asked.length, 4);
        ms += 60_000;
        await client.announce(key, { left: 1 });
        while (silent.asked.length < 2) await new Promise((r) => setTimeout(r, 10));
      },
      { timeoutMs: 300, now: () => ms, metrics },
    );
    assert.ok(results.includes("unreachable"));
  });

  test("tiers in order; the next one only when all of one failed", async () => {
    await using bad = await fakeTracker((res) => res.writeHead(500).end());
    await using good = await fakeTracker(peers("10.0.0.1"));
    await using spare = await fakeTracker(peers("10.0.0.2"));
    await withClient([[dead, bad.url], [good.url], [spare.url]], async (client) => {
      const { peers: got } = await client.announce(key, { left: 1 });
      assert.deepEqual(got, [{ host: "10.0.0.1", port: 7 }]);
      assert.equal(spare.asked.length, 0);
      await client.announce(key, { left: 0, event: "stopped" });
      assert.deepEqual(
        [bad, good, spare].map(({ asked }) => asked.at(-1)?.query.get("event")),
        ["stopped", "stopped", "stopped"],
      );
    });
  });

  test("a tier that rests is asked all the same when nobody else is there", async () => {
    let broken = true;
    await using tracker = await fakeTracker((res, asked) => {
      if (broken) res.writeHead(503).end();
      else peers("10.0.0.1")(res, asked);
    });
    await withClient([[tracker.url]], async (client) => {
      await assert.rejects(client.announce(key, { left: 1 }), code("unreachable"));
      broken = false;
      assert.equal((await client.announce(key, { left: 1 })).peers.length, 1);
    });
  });

  test("rejects when all failed, with the last reason", async () => {
    await using refusing = await fakeTracker(answer({ "failure reason": "not here" }));
    await withClient([[dead], [refusing.url]], async (client) => {
      await assert.rejects(client.announce(key, { left: 1 }), /no tracker answered; .*not here/);
    });
    await withClient([[dead]], async (client) => {
      await assert.rejects(client.announce(key, { left: 1 }), code("unreachable"));
      await assert.rejects(client.announce(new Uint8Array(19), { left: 1 }), code("invalid"));
    });
    await withClient([], async (client) => {
      await assert.rejects(client.announce(key, { left: 1 }), code("unreachable"));
    });
  });

  test("hostile answers are refused, and end nothing but themselves", async () => {
    const hostile: [string, FakeAnswer, TrackerErrorCode][] = [
      ["too large", (res) => res.end(Buffer.alloc(3 * 1024 * 1024, "l")), "invalid"],
      ["without end", (res) => void setInterval(() => res.write("l"), 5).unref(), "timeout"],
      ["nested", (res) => res.end("l".repeat(900_000)), "invalid"],
      ["negative length", (res) => res.end("d5:peersl-2:ee"), "invalid"],
      ["no dictionary", (res) => res.end("i5e"), "invalid"],
      ["empty", (res) => res.end(), "invalid"],
      ["HTML", (res) => res.end("<html>hello</html>"), "invalid"],
      ["redirect", (res) => res.writeHead(302, { location: "http://127.0.0.1:1/announce" }).end(), "unreachable"],
      [
        "cut",
        (res) => res.writeHead(200, { "content-length": "1000" }).write("d8:int", () => res.destroy()),
        "unreachable",
      ],
      ["mute", mute, "timeout"],
    ];
    for (const [name, behave, wanted] of hostile) {
      await using tracker = await fakeTracker(behave);
      await withClient(
        [[tracker.url]],
        (client) => assert.rejects(client.announce(key, { left: 1 }), code(wanted), name),
        {
          timeoutMs: 400,
        },
      );
    }
  });

  test("what is no HTTP at all", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.resume();
      socket.end("SSH-2.0-nope\r\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    try {
      await withClient([[new URL(`http://127.0.0.1:${address.port}`)]], (client) =>
        assert.rejects(client.announce(key, { left: 1 }), TrackerError),
      );
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("the caller's signal and close end a wait", async () => {
    await using tracker = await fakeTracker(mute);
    await withClient([[tracker.url]], async (client) => {
      const controller = new AbortController();
      const waiting = client.announce(key, { left: 1, signal: controller.signal });
      controller.abort();
      await assert.rejects(waiting, code("aborted"));
      await assert.rejects(client.announce(key, { left: 1, signal: AbortSignal.abort() }), code("aborted"));
      const other = client.announce(key, { left: 1 });
      await client.close();
      await assert.rejects(other, code("aborted"));
    });
  });
});
