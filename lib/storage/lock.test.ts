/** @module Tests of the lock file: living and dead owners, and takers at the same moment. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { acquireLock, type Lock } from "./lock.ts";
import { StorageError } from "./storage.ts";

async function temporary(): Promise<AsyncDisposable & { path: string; lock: string }> {
  const path = await mkdtemp(join(tmpdir(), "eagle-lock-"));
  return { path, lock: join(path, "lock"), [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const isLocked = (error: unknown) => error instanceof StorageError && error.code === "locked";

describe("acquireLock", () => {
  it("is exclusive until released", async () => {
    await using root = await temporary();
    const lock = await acquireLock(root.lock);
    await assert.rejects(acquireLock(root.lock), isLocked);
    await lock.release();
    await lock.release();
    const again = await acquireLock(root.lock);
    await lock.release();
    await assert.rejects(acquireLock(root.lock), isLocked);
    await again.release();
    assert.deepEqual(await readdir(root.path), []);
  });

  it("goes to one of many", async () => {
    await using root = await temporary();
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(root.lock)));
    const locks = results.filter((result): result is PromiseFulfilledResult<Lock> => result.status === "fulfilled");
    assert.equal(locks.length, 1);
    assert.deepEqual(await readdir(root.path), ["lock"]);
  });

  it("goes to one of many when its owner is dead", async () => {
    await using root = await temporary();
    for (let round = 0; round < 10; round++) {
      await writeFile(root.lock, `dead ${round}`);
      const results = await Promise.allSettled(Array.from({ length: 12 }, () => acquireLock(root.lock)));
      const locks = results.filter((result) => result.status === "fulfilled");
      assert.equal(locks.length, 1);
      for (const result of results) if (result.status === "rejected") assert.ok(isLocked(result.reason));
      assert.deepEqual(await readdir(root.path), ["lock"]);
      await locks[0]!.value.release();
    }
  });

  it("is taken over when an earlier taker died half-way", async () => {
    await using root = await temporary();
    await writeFile(root.lock, "dead");
    const claim = `${root.lock}.${createHash("sha256").update("dead").digest("hex").slice(0, 32)}`;
    await writeFile(claim, "dead too");
    const lock = await acquireLock(root.lock);
    await lock.release();
    assert.deepEqual(await readdir(root.path), []);
  });

  it("sweeps what died with its makers, and leaves the drafts of the living", async () => {
    await using root = await temporary();
    const first = await acquireLock(root.lock);
    const mine: Record<string, unknown> = JSON.parse(await readFile(root.lock, "utf8"));
    await first.release();
    await writeFile(`${root.lock}.living`, JSON.stringify(mine));
    await writeFile(`${root.lock}.dead`, JSON.stringify({ ...mine, pid: 0x3fffffff, start: "1" }));
    await writeFile(`${root.lock}.beginning`, "");
    await writeFile(`${root.lock}.torn`, '{"pid":');
    await utimes(`${root.lock}.torn`, 1000, 1000);
    const lock = await acquireLock(root.lock);
    assert.deepEqual((await readdir(root.path)).sort(), ["lock", "lock.beginning", "lock.living"]);
    await lock.release();
  });

  it("is taken over from the dead, and from a process id used again", async () => {
    await using root = await temporary();
    const first = await acquireLock(root.lock);
    const mine: Record<string, unknown> = JSON.parse(await readFile(root.lock, "utf8"));
    await first.release();
    const stale = [
      "",
      "not json",
      "[]",
      "null",
      JSON.stringify({ ...mine, pid: -1 }),
      JSON.stringify({ ...mine, pid: 0x3fffffff, start: "1" }),
      JSON.stringify({ ...mine, start: "1" }),
      JSON.stringify({ ...mine, boot: "another boot" }),
    ];
    for (const text of stale) {
      await writeFile(root.lock, text);
      const lock = await acquireLock(root.lock);
      await lock.release();
    }
    assert.deepEqual(await readdir(root.path), []);
  });

  it("belongs to a living other process, and falls free when it is killed", async () => {
    await using root = await temporary();
    const module = new URL("./lock.ts", import.meta.url).href;
    const program = `const { acquireLock } = await import(${JSON.stringify(module)});
      await acquireLock(${JSON.stringify(root.lock)}); console.log("locked"); setInterval(() => {}, 1000);`;
    const path = join(root.path, "owner.mjs");
    await writeFile(path, program);
    const child = spawn(process.execPath, "Deno" in globalThis ? ["run", "-A", "--no-check", path] : [path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(child.stdout, "data");
      await assert.rejects(acquireLock(root.lock), isLocked);
    } finally {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    const lock = await acquireLock(root.lock);
    await lock.release();
  });
});
