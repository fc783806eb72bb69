/**
 * @module The demo, small, from end to end.
 */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { eagle, startEagle } from "../testing/run-eagle.ts";
import { tempDirectory } from "../testing/temp-directory.ts";
import { run } from "./demo.ts";

test("pulls cold and warm, checks every digest, and leaves nothing", async () => {
  await using temp = await tempDirectory();
  const { code, stdout, stderr } = await eagle(["demo", "--size", "8M"], { env: { TMPDIR: temp.path } });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^Host 1 pulls[^\n]*\n {2}8 blobs, every digest right/m);
  assert.match(stdout, /^Host 2 pulls[^\n]*\n {2}8 blobs, every digest right/m);
  assert.match(stdout, /1\.00 times the image/);
  assert.match(stderr, /proxy 2 100%/);
  assert.doesNotMatch(stderr, /\n {4}at /, "no stack");
  assert.deepEqual(await readdir(temp.path), []);
});

test("Ctrl-C ends it at once, not as a success, and leaves nothing", async () => {
  await using temp = await tempDirectory();
  await using running = startEagle(["demo", "--size", "200M"], { env: { TMPDIR: temp.path } });
  await running.said(/Host 1 pulls/);
  running.signal("SIGINT");
  const { code, stdout } = await running.ended;
  assert.equal(code, 130);
  assert.doesNotMatch(stdout, /All is well/);
  assert.deepEqual(await readdir(temp.path), []);
});

test("a size that is none is refused", async () => {
  for (const size of ["big", "0", "100T"]) {
    await assert.rejects(run(["--size", size]), { name: "UsageError", message: /--size/ });
  }
});
