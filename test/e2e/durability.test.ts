/**
 * @module What a host has told to be there survives a power cut: bytes are on the disk before the name that vouches for
 * them, and the name before anything is built on it. Seen in the order of the system calls of real parts.
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { Rig } from "../rig/rig.ts";
import { isCommitted } from "../rig/stored-blobs.ts";
import { parseCalls, type SystemCall, watchCalls } from "../rig/strace.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry", "strace"] });
const repository = "library/durable";

describe("the order on disk of a commit", { skip }, () => {
  for (const size of [100_000, 9_000_000]) {
    test(`a blob of ${size} bytes, at its seeder and its proxy`, async (t) => {
      const rig = await Rig.for(t);
      const cluster = await startCluster(rig, { proxies: 1 });
      const blob = await cluster.pushBlob(repository, size);
      const id = blob.digest.slice("sha256:".length);
      const parts = [cluster.seeder, cluster.proxy()];
      const watches = await Promise.all(
        parts.map(({ process }) => watchCalls(rig, process, ["write", "truncate", "sync", "rename"])),
      );
      await pullBlob(cluster.proxy(), repository, blob);
      for (const [index, part] of parts.entries()) {
        await until(() => isCommitted(part, blob.digest), { what: `${part.name} to commit` });
        assertOrder(await watches[index]!.end(), part, id);
      }
    });
  }
});

/** Torrent and blob, each: written, synced, renamed, directory synced; and the blob's name last of all. */
function assertOrder(calls: readonly SystemCall[], { directory, name }: EagleApp, id: string): void {
  const about = `${name}: ${calls.map(({ name: call, args, result }) => `\n  ${call}(${args}) = ${result}`).join("")}`;
  const torrent = published(calls, `${directory}/torrents/${id}.torrent`, about);
  const data = published(calls, `${directory}/data/${id}.layer`, about);
  assert.ok(torrent.durable < data.renamed, `the metainfo is durable before the blob appears: ${about}`);
}

/** @returns When the name was given, and when it was durable. */
function published(calls: readonly SystemCall[], path: string, about: string): { renamed: number; durable: number } {
  const rename = calls.find((call) => call.name.startsWith("rename") && targets(call).at(-1) === path);
  assert.ok(rename && succeeded(rename), `${path} gets its name by a rename: ${about}`);
  const from = targets(rename)[0]!;
  const onFile = calls.filter(({ args }) => args.includes(`<${from}>`));
  const writes = onFile.filter((call) => /write|truncate/.test(call.name));
  assert.ok(writes.length > 0, `${from} is written: ${about}`);
  const written = Math.max(...writes.map(({ ended }) => ended));
  const isSync = (call: SystemCall) => /sync/.test(call.name) && succeeded(call);
  assert.ok(
    onFile.some((call) => isSync(call) && call.began > written && call.ended < rename.began),
    `${from} is synced after its last write and before its rename: ${about}`,
  );
  const synced = calls.find(
    (call) => isSync(call) && call.args.includes(`<${dirname(path)}>`) && call.began > rename.ended,
  );
  assert.ok(synced, `the directory of ${path} is synced after the rename: ${about}`);
  return { renamed: rename.began, durable: synced.ended };
}

function succeeded({ result }: SystemCall): boolean {
  return /^\d/.test(result);
}

/** The paths that a call names. */
function targets({ args }: SystemCall): string[] {
  return [...args.matchAll(/"([^"]*)"/g)].map(([, path]) => path!);
}

test("calls that interrupt each other are read", () => {
  const calls = parseCalls(`12 pwrite64(5</a>, ""..., 4, 0 <unfinished ...>
13 fsync(6</b>)                      = 0
12 <... pwrite64 resumed>)           = 4
13 rename("/a", "/b")                = -1 ENOENT (No such file or directory)
12 +++ exited with 0 +++
`);
  assert.deepEqual(
    calls.map(({ name, began, ended, result }) => [name, began, ended, result]),
    [
      ["pwrite64", 0, 2, "4"],
      ["fsync", 1, 1, "0"],
      ["rename", 3, 3, "-1 ENOENT (No such file or directory)"],
    ],
  );
  assert.deepEqual(targets(calls[2]!), ["/a", "/b"]);
});
