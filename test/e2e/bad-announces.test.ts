/**
 * @module A tracker under huge, broken and hostile announces and heartbeats answers with an error and goes on.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import bencode from "bencode";
import { type EagleApp, startTracker } from "../rig/eagle.ts";
import { call } from "../rig/http-call.ts";
import { exchange, statusOf } from "../rig/raw-http.ts";
import { Rig } from "../rig/rig.ts";

const hash = "%01".repeat(20);
const peer = "-EG0001-abcdefghijkl";

describe("a tracker and bad announces", () => {
  let rig: Rig;
  let tracker: EagleApp;

  before(async () => {
    rig = await Rig.create();
    tracker = await startTracker(rig);
  });
  after(() => rig.close());

  const announce = async (query: string) => {
    const answer = await exchange(
      tracker.url,
      `GET /announce?${query} HTTP/1.1\r\nHost: tracker\r\nConnection: close\r\n\r\n`,
    );
    const [, body = ""] = answer.split("\r\n\r\n");
    return { status: statusOf(answer), body };
  };

  const good = (more = "") => `info_hash=${hash}&peer_id=${peer}&port=6000&left=0&uploaded=0&downloaded=0${more}`;

  test("an honest one is answered", async () => {
    const { status, body } = await announce(good());
    assert.equal(status, 200);
    const answer = bencode.decode(Buffer.from(body, "latin1")) as Record<string, unknown>;
    assert.ok("interval" in answer && "peers" in answer, body);
  });

  for (const [title, query] of Object.entries({
    "no info_hash": `peer_id=${peer}&port=6000&left=0`,
    "a short info_hash": `info_hash=%01%02&peer_id=${peer}&port=6000&left=0`,
    "a long info_hash": `info_hash=${"%01".repeat(21)}&peer_id=${peer}&port=6000&left=0`,
    "a broken escape": `info_hash=%zz${"%01".repeat(19)}&peer_id=${peer}&port=6000&left=0`,
    "no peer_id": `info_hash=${hash}&port=6000&left=0`,
    "port 0": `info_hash=${hash}&peer_id=${peer}&port=0&left=0`,
    "port 99999": `info_hash=${hash}&peer_id=${peer}&port=99999&left=0`,
    "a port that is no number": `info_hash=${hash}&peer_id=${peer}&port=http&left=0`,
  })) {
    test(`${title}: refused`, async () => {
      const { status, body } = await announce(query);
      assert.ok(
        (status !== undefined && status >= 400 && status < 500) || body.includes("14:failure reason"),
        `${status} ${body}`,
      );
      assert.equal(await tracker.health(), 200);
    });
  }

  for (const [title, more] of Object.entries({
    "numwant=-1": "&numwant=-1",
    "numwant=1000000000": "&numwant=1000000000",
    "numwant=all": "&numwant=all",
    "left=-5": "&left=-5",
    "an event that is none": "&event=exploded",
    "an ip": "&ip=8.8.8.8",
    "a thousand parameters": "&a=b".repeat(1000),
  })) {
    test(`${title}: an answer or an error, of bounded size`, async () => {
      const { status, body } = await announce(good(more));
      assert.ok(status !== undefined && status < 500 && body.length < 100_000, `${status}`);
      assert.ok(!body.includes("8.8.8.8"));
    });
  }

  test("a query of 1 MB", async () => {
    const { status } = await announce(good(`&a=${"b".repeat(1_000_000)}`));
    assert.ok(status === undefined || (status >= 400 && status < 500), `${status}`);
    assert.equal(await tracker.health(), 200);
  });

  test("bad heartbeats", async () => {
    const url = new URL("/p2p/v1/holdings", tracker.url);
    const honest = { peer: "ab".repeat(20), port: 6000, epoch: "e", lease: 60, seq: 1, add: [], remove: [] };
    const bodies = [
      "no json",
      "[]",
      "{}",
      JSON.stringify({ ...honest, peer: "../../x" }),
      JSON.stringify({ ...honest, port: -1 }),
      JSON.stringify({ ...honest, add: ["sha256:short"] }),
      JSON.stringify({ ...honest, add: Array.from({ length: 100_000 }, () => `sha256:${"0".repeat(64)}`) }),
      JSON.stringify({ ...honest, lease: "long" }),
      "[".repeat(500_000),
    ];
    for (const body of bodies) {
      const answer = await call(url, { method: "POST", headers: { "content-type": "application/json" }, body }).catch(
        () => undefined,
      );
      assert.ok(
        answer === undefined || (answer.status >= 400 && answer.status < 500),
        `${body.slice(0, 60)}: ${answer?.status}`,
      );
    }
    assert.equal(await tracker.health(), 200);
  });
});
