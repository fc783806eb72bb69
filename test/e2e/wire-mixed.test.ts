/**
 * @module Hosts of Eagle and ordinary BitTorrent clients fetch one blob together, over shaped lines: all get it, and the
 * right bytes. How much slower the hosts of Eagle are than among themselves is printed, not judged: it is a time.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type BlobFile, makeBlobFile } from "../bench/blob-files.ts";
import type { Arena } from "../bench/swarm/contender.ts";
import { Eagle } from "../bench/swarm/eagle.ts";
import { startOrigin } from "../bench/swarm/run.ts";
import { createWorkspace } from "../bench/workspace.ts";
import { type BtClientName, needClients, startBtClient } from "../interop/bt-clients.ts";
import { defaultRuntime } from "../rig/eagle.ts";
import { fileDigest, hexOf } from "../rig/engines/engine.ts";
import { parseMetrics } from "../rig/metrics-text.ts";
import { type HostName, Net } from "../rig/netns.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["ip", "tc", "nginx", "curl"], root: true }) || needClients("aria2", "libtorrent");
/** Mbit/s of every host, both ways. */
const rate = 40;
const size = 48 * 1024 * 1024;
const fastRate = 2000;

test("4 hosts of Eagle, 2 of aria2, 2 of libtorrent", { skip }, async (t) => {
  const alone = await swarm(t, ["eagle", "eagle", "eagle", "eagle", "eagle", "eagle", "eagle", "eagle"]);
  const mixed = await swarm(t, ["eagle", "eagle", "eagle", "eagle", "aria2", "aria2", "libtorrent", "libtorrent"]);
  const slowest = Math.max(...alone.values());
  const mixedSlowest = Math.max(
    ...[...mixed].filter(([host]) => Number(host.slice(1)) <= 4).map(([, seconds]) => seconds),
  );
  t.diagnostic(`the slowest host of Eagle: ${(mixedSlowest / slowest).toFixed(2)} times as long as among its own`);
});

/** @returns Seconds until each host had the blob. */
async function swarm(t: TestContext, kinds: readonly ("eagle" | BtClientName)[]): Promise<Map<HostName, number>> {
  await using rig = createWorkspace({ needs: size * (kinds.length + 3) });
  const net = await Net.create(rig, { hosts: kinds.length, rate });
  const hosts = net.hosts.filter((_, index) => kinds[index] === "eagle");
  const blob = makeBlobFile(rig.dir, { size, seed: "mixed" });
  const origin = await startOrigin(rig, net, [blob]);
  const arena: Arena = { rig, net, hosts, blobs: [blob], origin, runtime: defaultRuntime() };
  const eagle = await Eagle.start(arena);
  for (const host of ["origin", "seed"] as const) net.shape(host, fastRate);
  await eagle.warm(blob);
  const torrent = await fetchTorrent(arena, blob);
  for (const host of ["origin", "seed"] as const) net.shape(host, rate);
  const pulls = await Promise.all(hosts.map(async (host) => [host, await eagle.arm(host)] as const));
  await sleep(1000);
  const before = net.traffic();
  const started = performance.now();
  const seconds = new Map<HostName, number>();
  const took = (host: HostName) => seconds.set(host, (performance.now() - started) / 1000);
  const ended = net.hosts.map(async (host, index) => {
    const kind = kinds[index]!;
    if (kind === "eagle") {
      const [, pull] = pulls.find(([name]) => name === host)!;
      pull.go();
      await pull.done;
      took(host);
      const stored = eagle.stored(host, blob);
      await until(() => existsSync(stored), { what: `${host} to store the blob` });
      assert.equal(await fileDigest(stored), blob.digest);
      return;
    }
    const directory = rig.path(`${kind}-${host}`);
    const start = net.start.bind(net, host);
    const client = await startBtClient(rig, kind, { torrent, directory, address: net.address(host), start });
    await client.complete({ timeoutMs: 240_000 });
    took(host);
    assert.equal(await fileDigest(`${directory}/${hexOf(blob.digest)}.layer`), blob.digest);
  });
  await Promise.all(ended);
  const after = net.traffic();
  for (const [index, host] of net.hosts.entries()) {
    const [sent, received] = (["sent", "received"] as const).map(
      (way) => (after.get(host)![way] - before.get(host)![way]) / size,
    );
    t.diagnostic(
      `${kinds[index]} ${host}: ${seconds.get(host)!.toFixed(1)} s, sent ${sent!.toFixed(2)}, received ${received!.toFixed(2)} blobs`,
    );
  }
  t.diagnostic(`seeder sent ${((after.get("seed")!.sent - before.get("seed")!.sent) / size).toFixed(2)} blobs`);
  for (const host of ["seed" as const, ...hosts]) t.diagnostic(`${host}: ${await bytesOf(arena, host)}`);
  return seconds;
}

/** What a part of Eagle has counted. */
async function bytesOf({ net }: Arena, host: HostName): Promise<string> {
  const url = `http://127.0.0.1:${host === "seed" ? 55008 : 61006}/metrics`;
  const samples = parseMetrics(await net.run(host, "curl", ["-q", "--noproxy", "*", "-sS", url]));
  return samples
    .filter(({ name, value }) => name === "eagle_bytes_total" && value > 0)
    .map(({ labels, value }) => `${labels.source} ${labels.direction} ${(value / size).toFixed(2)}`)
    .join(", ");
}

/** The torrent of the seeder's page. @returns its path */
async function fetchTorrent({ rig, net }: Arena, blob: BlobFile): Promise<string> {
  const path = rig.path("mixed.torrent");
  const url = `http://${net.address("seed")}:55008/torrents/${blob.digest}.torrent`;
  await net.run("seed", "curl", ["-q", "--noproxy", "*", "-sS", "-f", "-o", path, url]);
  return path;
}
