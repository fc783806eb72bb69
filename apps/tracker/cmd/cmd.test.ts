/** @module Tests of a running tracker: over sockets, with the ecosystem's own client, as a process. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import Client from "bittorrent-tracker/client";
import { loadConfig } from "../../../lib/config/load.ts";
import { trackerConfigSchema } from "../../../lib/config/tracker.ts";
import { silentLogger } from "../../../lib/log/log.ts";
import { TrackerClient } from "../../../lib/tracker/client.ts";
import { Heartbeat } from "../../../lib/tracker/heartbeat.ts";
import { swarmKey } from "../../../lib/tracker/keys.ts";
import { startTracker } from "./cmd.ts";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const runtime = "Deno" in globalThis ? ["run", "--allow-all", "--no-check", main] : [main];
const digest = `sha256:${"ab".repeat(32)}`;
const peerId = (n: number) => Uint8Array.from({ length: 20 }, (_, i) => (i === 0 ? n : 180 + i));

function start(trackerCfg: Record<string, unknown> = {}) {
  const object = { trackerCfg: { host: "127.0.0.1", port: 0, ...trackerCfg } };
  return startTracker(loadConfig(trackerConfigSchema, { app: "tracker", object }), { log: silentLogger });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await condition())) {
    assert.ok(performance.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Sends bytes, returns what comes back until the end. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(bytes);
  let got = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    got += chunk;
  });
  await once(socket, "close");
  return got;
}

describe("a running tracker", () => {
  test("serves the bittorrent-tracker client: announce, peers, scrape, stop", async () => {
    const tracker = await start();
    const infoHash = Buffer.from("fe".repeat(20), "hex").fill(0x80, 0, 4);
    const make = (n: number) => {
      const client = new Client({
        infoHash: infoHash.toString("hex"),
        peerId: Buffer.from(peerId(n)).toString("hex"),
        announce: [`${tracker.url}/announce`],
        port: 6000 + n,
        wrtc: false,
      });
      const peers: string[] = [];
      const warnings: string[] = [];
      client.on("peer", (address: string) => peers.push(address));
      client.on("warning", (error: Error) => warnings.push(error.message));
      client.on("error", (error: Error) => warnings.push(error.message));
      return { client, peers, warnings };
    };
    const one = make(1);
    const two = make(2);
    try {
      const first = once(one.client, "update");
      one.client.start({ left: 0 });
      const [update] = await first;
      assert.deepEqual([update.complete, update.incomplete, update.interval], [1, 0, 60]);
      const second = once(two.client, "update");
      two.client.start({ left: 10 });
      await second;
      await until(() => two.peers.length > 0);
      assert.deepEqual(two.peers, ["127.0.0.1:6001"]);
      const scraped = once(two.client, "scrape");
      two.client.scrape();
      const [counts] = await scraped;
      assert.deepEqual([counts.complete, counts.incomplete], [1, 1]);
      const stopped = once(one.client, "update");
      one.client.stop({ left: 0 });
      assert.deepEqual([(await stopped)[0].complete], [0]);
      assert.deepEqual([...one.warnings, ...two.warnings], []);
    } finally {
      await Promise.all([one, two].map(({ client }) => new Promise<void>((done) => client.destroy(() => done()))));
      await tracker.close();
    }
  });

  test("hostile requests on the socket leave it alive", async () => {
    const tracker = await start();
    try {
      const huge = await raw(tracker.port, `GET /announce?x=${"y".repeat(10_000_000)} HTTP/1.1\r\nHost: t\r\n\r\n`);
      assert.ok(huge === "" || huge.startsWith("HTTP/1.1 431"), huge.slice(0, 60));
      const end = "HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
      assert.match(await raw(tracker.port, `GET /announce?x=${"y".repeat(20_000)} ${end}`), /200 OK.*too long/s);
      assert.match(await raw(tracker.port, `GET /announce?info_hash=%zz%%%u12&&==&peer_id ${end}`), /failure reason/);
      assert.match(await raw(tracker.port, `GET http://t/announce?port=0 ${end}`), /failure reason/);
      assert.match(await raw(tracker.port, `GET /scrape?${"info_hash=%00&".repeat(900)} ${end}`), /failure reason/);
      await raw(tracker.port, "nonsense\r\n\r\n");
      assert.equal((await fetch(`${tracker.url}/healthz`)).status, 200);
    } finally {
      await tracker.close();
    }
  });

  test("our own client: holders by heartbeat, announcers, and a tracker that dies and comes back", async () => {
    const steady = await start();
    let other = await start();
    const { port } = other;
    const trackers = [[new URL(steady.url), new URL(other.url)]];
    const holder = new Heartbeat({ trackers, peerId: peerId(1), port: 7001, zone: "z", intervalMs: 100 });
    const client = new TrackerClient({ trackers, peerId: peerId(2), port: 7002 });
    const only = new TrackerClient({ trackers: [[new URL(other.url)]], peerId: peerId(3), port: 7003 });
    const ports = async (from: TrackerClient) => {
      const { peers } = await from.announce(swarmKey(digest), { left: 1 });
      return new Set(peers.map((peer) => peer.port));
    };
    try {
      holder.start();
      await ports(client);
      holder.add(digest);
      await until(async () => (await ports(only)).size === 2);
      assert.deepEqual(await ports(client), new Set([7001, 7003]));
      await other.close();
      // Each tracker is told in its own time.
      await until(async () => (await ports(client)).has(7001));
      await assert.rejects(ports(only));
      other = await start({ port });
      await until(async () => (await ports(only)).has(7001));
      holder.remove(digest);
      await until(async () => !(await ports(only)).has(7001) && !(await ports(client)).has(7001));
      holder.add(digest);
      await until(async () => (await ports(only)).has(7001));
      await holder.stop();
      assert.ok(!(await ports(client)).has(7001));
    } finally {
      await Promise.all([holder.stop(), client.close(), only.close()]);
      await Promise.all([steady.close(), other.close()]);
    }
  });

  test("on IPv6", async (t) => {
    const tracker = await start({ host: "::1" }).catch(() => undefined);
    if (tracker === undefined) return t.skip("this machine has no ::1");
    const trackers = [[new URL(tracker.url)]];
    const one = new TrackerClient({ trackers, peerId: peerId(1), port: 7001 });
    const two = new TrackerClient({ trackers, peerId: peerId(2), port: 7002 });
    try {
      await one.announce(swarmKey(digest), { left: 1, event: "started" });
      const { peers } = await two.announce(swarmKey(digest), { left: 1, event: "started" });
      assert.deepEqual(peers, [{ host: "::1", port: 7001, peerId: Buffer.from(peerId(1)).toString("hex") }]);
    } finally {
      await Promise.all([one.close(), two.close()]);
      await tracker.close();
    }
  });
});

describe("the tracker command", () => {
  test("help, wrong flags, wrong configuration, a port that is taken", async () => {
    const finish = async (...args: string[]) => {
      const child = spawn(process.execPath, [...runtime, ...args], { stdio: ["ignore", "pipe", "pipe"] });
      let out = "";
      let err = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        out += chunk;
      });
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
        err += chunk;
      });
      const [code] = await once(child, "close");
      return { code, out, err };
    };
    const directory = await mkdtemp(join(tmpdir(), "eagle-tracker-"));
    const tracker = await start();
    try {
      const file = async (name: string, text: string) => {
        await writeFile(join(directory, name), text);
        return join(directory, name);
      };
      const wrong = await file("wrong.yaml", "trackerCfg:\n  prot: 1\n");
      const taken = await file("taken.yaml", `trackerCfg:\n  host: 127.0.0.1\n  port: ${tracker.port}\n`);
      const [help, flag, level, config, missing, port] = await Promise.all([
        finish("--help"),
        finish("--nope"),
        finish("--log-level", "loud"),
        finish("--config", wrong),
        finish("--config", join(directory, "none.yaml")),
        finish("--config", taken),
      ]);
      assert.equal(help.code, 0);
      assert.match(help.out, /--log-format/);
      assert.deepEqual([flag.code, level.code, config.code, missing.code, port.code], [2, 2, 1, 1, 1]);
      assert.match(level.err, /loud/);
      assert.match(config.err, /trackerCfg\.prot/);
      assert.match(missing.err, /none\.yaml/);
      assert.match(port.err, /^tracker: .*(EADDRINUSE|in use)/);
    } finally {
      await rm(directory, { recursive: true });
      await tracker.close();
    }
  });

  test("SIGTERM stops it, with code 0", async () => {
    const directory = await mkdtemp(join(tmpdir(), "eagle-tracker-"));
    try {
      const file = join(directory, "tracker.yaml");
      await writeFile(file, "trackerCfg:\n  host: 127.0.0.1\n  port: 0\n  interval: 30\n");
      const child = spawn(process.execPath, [...runtime, "--config", file, "--log-format", "json"], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      const closed = once(child, "close");
      let log = "";
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
        log += chunk;
      });
      await until(() => log.includes("\n"));
      const { url } = JSON.parse(log.slice(0, log.indexOf("\n"))) as { url: string };
      assert.equal(await (await fetch(`${url}/readyz`)).text(), "ready\n");
      // Not child.kill: Deno then reports the signal instead of the code.
      process.kill(child.pid!, "SIGTERM");
      assert.deepEqual((await closed)[0], 0);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
