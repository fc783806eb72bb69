/**
 * @module All of Eagle in one process: start, use, stop.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { REPOSITORY } from "../demo/origin.ts";
import { eagle, startEagle } from "../testing/run-eagle.ts";
import { smallWorld } from "../testing/small-world.ts";
import { run } from "./up.ts";

const anyPorts = ["--peer-port", "0", "--seeder-port", "0", "--tracker-port", "0"];

test("serves the registry, tells engines how, ends with 0 at SIGTERM", async () => {
  await using world = await smallWorld({ proxies: 0 });
  const data = join(world.directory, "up");
  await using up = startEagle(["up", "--origin", world.origin.authority, "--data", data, "--port", "0", ...anyPorts]);
  const text = await up.said(/Ctrl-C ends it/);
  const url = /^proxy +(\S+)/m.exec(text)?.[1] ?? "";
  assert.ok(text.includes(`[host."${url}"]`), text);
  const { digest, size } = world.image.blobs[1]!;
  const response = await fetch(`${url}/v2/${REPOSITORY}/blobs/${digest}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(bytes.length, size);
  assert.equal(`sha256:${createHash("sha256").update(bytes).digest("hex")}`, digest);

  const other = join(world.directory, "other");
  const taken = await eagle(["up", "--data", other, "--port", new URL(url).port, ...anyPorts]);
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /listens there already.*--port/);

  up.signal("SIGTERM");
  const { code, stderr } = await up.ended;
  assert.equal(code, 0, stderr);
});

test("addresses that are none are refused", async () => {
  for (const [flag, value] of [
    ["--host", "0.0.0.0"],
    ["--host", "::"],
    ["--port", "70000"],
    ["--origin", "http://a/b"],
    ["--limit-size", "much"],
  ] as const) {
    await assert.rejects(run([flag, value]), { name: "UsageError", message: new RegExp(flag) });
  }
});
