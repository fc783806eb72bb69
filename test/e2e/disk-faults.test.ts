/**
 * @module Disks fill up, break and become read-only under real parts: every pull goes on with the right bytes, the log
 * says in plain words what to do, and once the disk is mended blobs are kept again without a restart.
 */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { after, afterEach, before, describe, test } from "node:test";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { SmallDisk, smallDiskTools } from "../rig/small-disk.ts";
import { isCommitted, nothingArrives } from "../rig/stored-blobs.ts";
import { type BrokenCalls, type BrokenSystem, breakCalls } from "../rig/strace.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry", "strace", "prlimit", ...smallDiskTools], root: true });
const repository = "library/disks";
const MB = 1_000_000;
const disk = 96 * MB;
/** Held whole until its digest agrees; streamed as it arrives. */
const sizes = { small: 2 * MB, large: 24 * MB };

/** Which part's disk fails, and how its root directory is called in its config. */
type Where = "proxy" | "seeder";

for (const where of ["proxy", "seeder"] as const satisfies readonly Where[]) {
  describe(`the disk of the ${where}`, { skip }, () => {
    let rig: Rig;
    let cluster: Cluster;
    let broken: SmallDisk;
    let part: EagleApp;
    let faults: BrokenSystem[] = [];
    let serial = 0;

    before(async () => {
      rig = await Rig.create();
      const directory = rig.path(`${where}-0-data`);
      await mkdir(directory);
      broken = await SmallDisk.make(rig, { directory, bytes: disk });
      const { within } = broken;
      const small = { limitSize: "64M", minFree: "4K" };
      cluster = await startCluster(rig, { proxies: 0, seeders: 0 });
      await cluster.addSeeder(where === "seeder" ? { within, config: { seederCfg: small } } : {});
      await cluster.addProxy(where === "proxy" ? { within, config: { clientCfg: small } } : {});
      part = where === "proxy" ? cluster.proxy() : cluster.seeder;
    });
    after(() => rig.close());
    afterEach(async () => {
      for (const fault of faults.splice(0)) await fault.end();
      faults = [];
      broken.relieve();
    });

    /** Blobs that no test has asked for. */
    const fresh = (size: number) => cluster.pushBlob(repository, size, { seed: `${where} ${serial++}` });
    const pull = (blob: Descriptor) => pullBlob(cluster.proxy(), repository, blob);
    const name = ({ digest }: Descriptor) => digest.slice("sha256:".length);
    const files = async (directory: string) => await broken.files(directory).catch(() => [] as string[]);
    const keeps = async (blob: Descriptor) =>
      (await files("data")).includes(`${name(blob)}.layer`) && (await nothingArrives(part));

    async function breaks(calls: BrokenCalls["calls"], error: BrokenCalls["error"], paths: string[]) {
      const fault = await breakCalls(rig, part.process, { calls, error, paths });
      faults.push(fault);
      return fault;
    }

    /** New lines of the part's log. */
    function listen(): () => string {
      const heard = part.process.output.length;
      return () => part.process.output.slice(heard);
    }

    /** Nothing of a blob is left, neither here nor there. */
    async function leftNothing(blob: Descriptor): Promise<void> {
      const id = name(blob);
      const left = async () => [...(await files("partial")), ...(await files("torrents")), ...(await files("data"))];
      await until(async () => !(await left()).some((file) => file.startsWith(id)), {
        what: `nothing of ${id} to be left`,
      });
    }

    /** The disk is whole again: the next blob is kept. */
    async function works(): Promise<void> {
      const blob = await fresh(sizes.small);
      await pull(blob);
      await until(() => keeps(blob), { what: "the next blob to be kept" });
      await pull(blob);
      assert.equal(part.process.status, undefined, "no restart was needed");
    }

    /** A part that keeps a blob gives it from its disk: the origin is not asked. */
    async function servesKept(blob: Descriptor): Promise<void> {
      if (where === "seeder") await forget(cluster.proxy(), blob);
      const before = cluster.origin.blobBytes(blob.digest);
      await pull(blob);
      assert.equal(cluster.origin.blobBytes(blob.digest), before);
    }

    // First: what other tests leave could go, and make the room that a blob needs.
    for (const [kind, size] of Object.entries(sizes)) {
      test(`full in the middle of a ${kind} blob`, async () => {
        const words = listen();
        broken.fill(size / 2);
        const blob = await fresh(size);
        await pull(blob);
        await pull(blob);
        await hears(words, /the disk is full.*free space on it/);
        await leftNothing(blob);
        broken.relieve();
        await works();
        await hears(words, /the disk works again/);
      });
    }

    for (const [kind, size] of Object.entries(sizes)) {
      test(`full at the metainfo of a ${kind} blob`, async () => {
        const words = listen();
        const blob = await fresh(size);
        const fault = await breaks(["sync"], "ENOSPC", [`${part.directory}/torrents`]);
        await pull(blob);
        await until(async () => (await fault.hits()) > 0, { what: "the sync" });
        await hears(words, /torrents.*the disk is full/);
        await leftNothing(blob);
        await fault.end();
        await works();
      });

      test(`full at the rename of a ${kind} blob`, async () => {
        const blob = await fresh(size);
        const fault = await breaks(["rename"], "ENOSPC", [`${part.directory}/partial/${name(blob)}`]);
        await pull(blob);
        await until(async () => (await fault.hits()) > 0, { what: "the rename" });
        await leftNothing(blob);
        await fault.end();
        await works();
      });

      test(`EIO when a ${kind} blob is written`, async () => {
        const words = listen();
        const blob = await fresh(size);
        const fault = await breaks(["write"], "EIO", [`${part.directory}/partial/${name(blob)}`]);
        await pull(blob);
        assert.ok((await fault.hits()) > 0);
        await hears(words, /the disk could not read or write.*dmesg/);
        await leftNothing(blob);
        await fault.end();
        await works();
      });

      test(`EIO when a ${kind} blob is made durable`, async () => {
        const blob = await fresh(size);
        const fault = await breaks(["sync"], "EIO", [`${part.directory}/partial/${name(blob)}`]);
        await pull(blob);
        await until(async () => (await fault.hits()) > 0, { what: "the sync" });
        await leftNothing(blob);
        await fault.end();
        await works();
      });

      test(`EIO when the name of a ${kind} blob is made durable`, async () => {
        const blob = await fresh(size);
        const fault = await breaks(["sync"], "EIO", [`${part.directory}/data`]);
        await pull(blob);
        await until(async () => (await fault.hits()) > 0, { what: "the sync" });
        await leftNothing(blob);
        await fault.end();
        await works();
      });

      test(`EIO when a stored ${kind} blob is read: it is fetched anew`, async () => {
        const words = listen();
        const blob = await fresh(size);
        await pull(blob);
        await until(() => keeps(blob), { what: "the blob to be kept" });
        // The seeder's copy is asked for when the proxy has lost its own.
        if (where === "seeder") await forget(cluster.proxy(), blob);
        const fault = await breaks(["read"], "EIO", [`${part.directory}/data/${name(blob)}.layer`]);
        await pull(blob);
        assert.ok((await fault.hits()) > 0);
        await hears(words, /the disk could not read or write/);
        await fault.end();
        if (where === "seeder") await forget(cluster.proxy(), blob);
        await pull(blob);
        await until(() => keeps(blob), { what: "the blob to be kept again" });
        await works();
      });
    }

    test("read-only, and writable again", async () => {
      const words = listen();
      const kept = await fresh(sizes.small);
      await pull(kept);
      await until(() => keeps(kept), { what: "the blob to be kept" });
      await until(async () => (await files("partial")).length === 0, { what: "the disk to be idle" });
      await until(() => broken.remount("ro").then(() => true), { what: "the disk to be read-only", everyMs: 200 });
      const blob = await fresh(sizes.large);
      await pull(blob);
      await pull(kept);
      await hears(words, /the file system is read-only.*mount it for writing/);
      await broken.remount("rw");
      await works();
    });

    test("full when it starts", async () => {
      const [old, kept] = [await fresh(sizes.small), await fresh(sizes.small)];
      for (const blob of [old, kept]) {
        await pull(blob);
        await until(() => keeps(blob), { what: "the blob to be kept" });
      }
      await part.stop();
      broken.fill();
      await part.start();
      await hears(() => part.process.output, /cannot write the lock file.*the disk is full.*free space on it/);
      await servesKept(kept);
      await pull(await fresh(sizes.large));
      broken.relieve();
      await hears(() => part.process.output, /the disk takes writes now/);
      await works();
    });

    test("read-only when it starts", async () => {
      const kept = await fresh(sizes.small);
      await pull(kept);
      await until(() => keeps(kept), { what: "the blob to be kept" });
      await part.kill();
      await broken.remount("ro");
      await part.start();
      await hears(() => part.process.output, /cannot write the lock file.*read-only.*mount it for writing/);
      await servesKept(kept);
      await pull(await fresh(sizes.large));
      await broken.remount("rw");
      await hears(() => part.process.output, /the disk takes writes now/);
      await works();
    });

    test("nothing more may be opened", async () => {
      const { pid } = part.process;
      const blobs = await Promise.all(Array.from({ length: 8 }, () => fresh(sizes.small)));
      const open = (await readdir(`/proc/${pid}/fd`)).length;
      const usual = await fileLimit(part);
      const limit = (soft: number) => rig.processes.run("prlimit", ["--pid", String(pid), `--nofile=${soft}:${usual}`]);
      await limit(open + 6);
      // An engine asks again as well.
      const stubborn = (blob: Descriptor) =>
        until(() => pull(blob), { what: `${blob.digest} to come whole`, timeoutMs: 60_000, everyMs: 500 });
      await Promise.all(blobs.map(stubborn));
      await limit(usual);
      await works();
    });

    test("its descriptors run out for files alone", async () => {
      const words = listen();
      const blob = await fresh(sizes.large);
      const fault = await breaks(["open"], "EMFILE", [`${part.directory}/partial/${name(blob)}`]);
      await pull(blob);
      assert.ok((await fault.hits()) > 0);
      await hears(words, /as many files and connections open as it may.*LimitNOFILE/);
      await fault.end();
      await works();
    });
  });
}

/** Waits for words in a log: they may come after the pull's last byte. */
async function hears(words: () => string, pattern: RegExp): Promise<void> {
  await until(() => pattern.test(words()), { what: `the log to say ${pattern}` }).catch(() => {
    assert.match(words(), pattern);
  });
}

/** Takes a blob from a part as an operator would who removes its file. */
async function forget(part: EagleApp, { digest }: Descriptor): Promise<void> {
  await until(() => isCommitted(part, digest), { what: `${part.name} to commit` });
  await rm(`${part.directory}/data/${digest.slice("sha256:".length)}.layer`);
}

/** The soft limit of open files. */
async function fileLimit({ process }: EagleApp): Promise<number> {
  const text = await readFile(`/proc/${process.pid}/limits`, "utf8");
  return Number(/^Max open files\s+(\d+)/m.exec(text)?.[1]);
}
