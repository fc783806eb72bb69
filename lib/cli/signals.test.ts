/**
 * Tests of the shutdown: with a process that is none, then with a real one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { onShutdown, type ShutdownOptions, type ShutdownProcess, type ShutdownSignal } from "./signals.ts";

class FakeProcess extends EventEmitter implements ShutdownProcess {
  readonly codes: number[] = [];
  exit(code: number): void {
    this.codes.push(code);
    this.emit("exit");
  }
}

function start(handler: (signal: ShutdownSignal) => void | Promise<void>, options: ShutdownOptions = {}) {
  const process = new FakeProcess();
  const errors: unknown[] = [];
  const shutdown = onShutdown(handler, { ...options, process, onError: (error) => errors.push(error) });
  return { process, errors, shutdown, raise: (signal: ShutdownSignal) => process.emit(signal, signal) };
}

test("the handler runs once, then the process exits with 0", async () => {
  const heard: string[] = [];
  const { process, raise } = start((signal) => {
    heard.push(signal);
  });
  raise("SIGTERM");
  await once(process, "exit");
  assert.deepEqual([heard, process.codes], [["SIGTERM"], [0]]);
});

test("a second signal exits at once", () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { process, raise } = start(() => promise);
  raise("SIGTERM");
  assert.deepEqual(process.codes, []);
  raise("SIGINT");
  assert.deepEqual(process.codes, [130]);
  resolve();
});

test("a handler that fails, or never ends, exits with 1", async () => {
  const failing = start(() => {
    throw new Error("disk on fire");
  });
  failing.raise("SIGINT");
  await once(failing.process, "exit");
  assert.deepEqual([failing.process.codes, String(failing.errors[0])], [[1], "Error: disk on fire"]);

  const { promise, resolve } = Promise.withResolvers<void>();
  const hanging = start(() => promise, { graceMs: 5 });
  hanging.raise("SIGINT");
  await once(hanging.process, "exit");
  assert.deepEqual([hanging.process.codes, String(hanging.errors[0])], [[1], "Error: still busy 5 ms after SIGINT"]);
  resolve();
});

test("after dispose nothing listens", () => {
  const { process, shutdown } = start(() => {});
  shutdown[Symbol.dispose]();
  assert.deepEqual([process.listenerCount("SIGTERM"), process.listenerCount("SIGINT")], [0, 0]);
});

test("a real process: one signal ends it in order, two end it at once", async () => {
  const module = new URL("./signals.ts", import.meta.url).href;
  for (const { body, kills, code } of [
    { body: "process.stdout.write('closed')", kills: ["SIGTERM"], code: 0 },
    { body: "process.stdout.write('closing'); return new Promise(() => {})", kills: ["SIGTERM", "SIGINT"], code: 130 },
  ] as const) {
    const script = `const { onShutdown } = await import(${JSON.stringify(module)});
      setInterval(() => {}, 1000);
      onShutdown(() => { ${body}; });
      process.stdout.write("ready");`;
    const args = "Deno" in globalThis ? ["eval", "--no-check", script] : ["--input-type=module", "--eval", script];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(child, "exit");
    for (const kill of kills) {
      await once(child.stdout, "data");
      // Not child.kill: after it Deno reports the signal sent, whatever the process made of it.
      process.kill(child.pid!, kill);
    }
    assert.deepEqual(await exited, [code, null]);
  }
});
