import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageError } from "../storage/index.ts";
import { DiskHealth } from "./disk-health.ts";
import { BlobError } from "./errors.ts";

function fault(code: string): BlobError {
  const system = Object.assign(new Error(`${code}: write`), { code });
  return new BlobError("storage", "writing failed", {
    cause: new StorageError("io", "cannot write", { cause: system }),
  });
}

function watched() {
  const lines: string[] = [];
  const clock = { ms: 0 };
  const say = (level: string) => (msg: string) => void lines.push(`${level} ${msg}`);
  const health = new DiskHealth({ log: { error: say("error"), info: say("info") }, now: () => clock.ms });
  return { health, lines, clock };
}

test("a failing disk is told of once, with what to do, and again after a minute", () => {
  const { health, lines, clock } = watched();
  health.failed(fault("ENOSPC"), "a");
  health.failed(fault("ENOSPC"), "b");
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^error the disk is full: .*registry.*; free space on it/);
  clock.ms += 60_000;
  health.failed(fault("ENOSPC"), "c");
  assert.equal(lines.length, 2);
});

test("another fault is news at once", () => {
  const { health, lines } = watched();
  health.failed(fault("ENOSPC"), "a");
  health.failed(fault("EROFS"), "a");
  assert.match(lines[1]!, /^error the file system is read-only: .*dmesg/);
});

test("its recovery is told of once", () => {
  const { health, lines } = watched();
  health.worked();
  assert.deepEqual(lines, []);
  health.failed(fault("EIO"), "a");
  assert.ok(health.isFailing);
  health.worked();
  health.worked();
  assert.ok(!health.isFailing);
  assert.deepEqual(lines.slice(1), ["info the disk works again: blobs are kept on it as before"]);
});

test("an origin's failure is not the disk's", () => {
  const { health, lines } = watched();
  health.failed(new BlobError("storage", "no", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) }), "a");
  health.failed("nothing", "a");
  assert.deepEqual(lines, []);
  assert.ok(!health.isFailing);
});
