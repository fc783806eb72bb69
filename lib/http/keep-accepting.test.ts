/** @module A listener whose process has run out of descriptors accepts again once there are some. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";

const limit = 256;
const deno = "Deno" in globalThis;

/**
 * Serves; opens files until no descriptor is left when told "take", and closes them when told "give". It takes several
 * times: the connection of the call before is closed a moment later, which gives one back.
 */
const program = (tls: boolean) => `
  import { closeSync, openSync } from "node:fs";
  const { serve } = await import(${JSON.stringify(new URL("./server.ts", import.meta.url).href)});
  const { testCertificate: tls } = await import(${JSON.stringify(new URL("./test-certificate.ts", import.meta.url).href)});
  const fetch = () => new Response("here");
  const listener = await serve({ host: "127.0.0.1", port: 0, fetch, ...(${tls} ? { tls } : {}) });
  console.log(listener.url);
  // Deno panics where it prepares for signals without a descriptor.
  process.on("SIGTERM", () => process.exit());
  const taken = [];
  const take = () => {
    try {
      for (;;) taken.push(openSync("/dev/null", "r"));
    } catch (error) {
      return error.code;
    }
  };
  process.stdin.setEncoding("utf8").on("data", async (line) => {
    if (line === "take\\n") {
      let code = take();
      for (let again = 0; again < 10; again++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        code = take();
      }
      console.log(code);
    } else if (line === "give\\n") {
      for (const file of taken.splice(0)) closeSync(file);
      console.log("given");
    }
  });`;

for (const tls of [false, true]) {
  test(`a listener survives that descriptors run out, ${tls ? "over TLS" : "in clear"}`, {
    skip: process.platform === "win32" && "there is no ulimit",
  }, async () => {
    const path = join(tmpdir(), `keep-accepting-${process.pid}-${tls}.mjs`);
    await writeFile(path, program(tls));
    const run = deno ? ["run", "-A", "--no-check", path] : [path];
    const child = spawn("sh", ["-c", `ulimit -n ${limit}; exec "$@"`, "sh", process.execPath, ...run], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const say = async (line: string): Promise<string> => {
      child.stdin.write(`${line}\n`);
      return (await lines.next()).value as string;
    };
    try {
      const url = (await lines.next()).value as string;
      assert.equal(await answer(url), "here");
      assert.equal(await say("take"), "EMFILE");
      const meanwhile = await Promise.all([answer(url), answer(url)]);
      assert.ok(meanwhile.every((text) => text !== "here") || !deno, "there was no descriptor for a connection");
      assert.equal(await say("give"), "given");
      const deadline = performance.now() + 10_000;
      let text = await answer(url);
      while (text !== "here" && performance.now() < deadline) text = await answer(url);
      assert.equal(text, "here");
    } finally {
      await rm(path, { force: true });
      await ended(child);
    }
  });
}

/** What a new connection gets: the body, or why there is none. */
async function answer(url: string): Promise<string> {
  const child = spawn("curl", ["--silent", "--insecure", "--max-time", "1", url], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await once(child, "close");
  return text;
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
