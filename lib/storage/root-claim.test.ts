/** @module Tests of the claim on a root directory where the disk takes no writes. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { acquireLock } from "./lock.ts";
import { RootClaim } from "./root-claim.ts";
import { StorageError } from "./storage.ts";

async function temporary(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "eagle-claim-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** What a disk says that takes no writes. */
function refusal(code: string): StorageError {
  return new StorageError("io", `cannot write the lock file (${code})`, {
    cause: Object.assign(new Error(code), { code }),
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 400 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition());
}

describe("RootClaim", () => {
  it("makes the directories and takes the lock", async () => {
    await using dir = await temporary();
    const root = join(dir.path, "deep", "er");
    const claim = await RootClaim.claim({ root, directories: [join(root, "data")] });
    assert.ok(existsSync(join(root, "data")));
    await assert.rejects(RootClaim.claim({ root, directories: [] }), { code: "locked" });
    await claim.release();
    assert.ok(!existsSync(join(root, "lock")));
  });

  it("throws what the disk says where nobody hears of it", async () => {
    await using dir = await temporary();
    const acquire = () => Promise.reject(refusal("ENOSPC"));
    await assert.rejects(RootClaim.claim({ root: dir.path, directories: [], acquire }), /lock file/);
  });

  for (const code of ["ENOSPC", "EDQUOT", "EROFS", "EIO"]) {
    it(`goes on without, and makes up for it (${code})`, async () => {
      await using dir = await temporary();
      const told: (string | undefined)[] = [];
      let attempts = 0;
      const claim = await RootClaim.claim({
        root: dir.path,
        directories: [],
        onTrouble: (error) => told.push(error?.message),
        againMs: 10,
        acquire: (path) => (++attempts < 4 ? Promise.reject(refusal(code)) : acquireLock(path)),
      });
      assert.equal(told.length, 1);
      await until(() => told.length > 1);
      assert.equal(told[1], undefined, "said once, and when it is over");
      assert.ok(existsSync(join(dir.path, "lock")));
      await claim.release();
      assert.ok(!existsSync(join(dir.path, "lock")));
    });
  }

  it("refuses what will not pass, and a directory that somebody works on", async () => {
    await using dir = await temporary();
    const onTrouble = () => assert.fail("is thrown");
    const denied = () => Promise.reject(refusal("EACCES"));
    await assert.rejects(RootClaim.claim({ root: dir.path, directories: [], onTrouble, acquire: denied }), /EACCES/);
    const lock = await acquireLock(join(dir.path, "lock"));
    const full = () => Promise.reject(refusal("ENOSPC"));
    await assert.rejects(RootClaim.claim({ root: dir.path, directories: [], onTrouble, acquire: full }), {
      code: "locked",
    });
    await lock.release();
  });

  it("ceases to try when it is released", async () => {
    await using dir = await temporary();
    let attempts = 0;
    const claim = await RootClaim.claim({
      root: dir.path,
      directories: [],
      onTrouble: () => {},
      againMs: 10,
      acquire: () => {
        attempts++;
        return Promise.reject(refusal("EROFS"));
      },
    });
    await until(() => attempts > 2);
    await claim.release();
    const before = attempts;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(attempts, before);
  });
});
