/**
 * Tests of the logger: levels, formats, secrets, hostile values.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger, type Level, type LogFormat, levels, silentLogger } from "./log.ts";

function capture({ level = "debug", format = "json" }: { level?: Level; format?: LogFormat } = {}) {
  const lines: string[] = [];
  const log = createLogger({ level, format, name: "proxy", now: () => 0, write: (line) => lines.push(line) });
  return { log, lines, json: () => lines.map((line) => JSON.parse(line)) };
}

test("json lines hold time, level, name, message and fields", () => {
  const { log, json } = capture();
  log.info("blob committed", { size: 5, level: "fake", msg: "fake" });
  assert.deepEqual(json(), [
    { time: "1970-01-01T00:00:00.000Z", level: "info", name: "proxy", msg: "blob committed", size: 5 },
  ]);
});

test("text lines quote what is not a word and keep to one line", () => {
  const { log, lines } = capture({ format: "text" });
  log.warn("slow\npeer \u001b[31m", { host: "10.0.0.1:80", why: 'said "no"\nnow', none: undefined, list: [1, "a b"] });
  assert.deepEqual(lines, [
    '1970-01-01T00:00:00.000Z WARN  proxy: slow\\npeer \\u001b[31m host=10.0.0.1:80 why="said \\"no\\"\\nnow" list=[1,"a b"]',
  ]);
});

test("a logger writes its own level and those above it", () => {
  for (const level of levels) {
    const { log, json } = capture({ level });
    for (const each of levels) log[each]("x");
    assert.deepEqual(
      json().map((line) => line.level),
      levels.slice(levels.indexOf(level)),
    );
  }
});

test("children add fields, the line's own fields win", () => {
  const { log, json } = capture();
  log.child({ digest: "sha256:aa", n: 1 }).child({ peer: "b" }).info("x", { n: 2 });
  assert.equal(json()[0].digest, "sha256:aa");
  assert.equal(json()[0].peer, "b");
  assert.equal(json()[0].n, 2);
});

test("secrets never reach a line", () => {
  for (const format of ["json", "text"] as const) {
    const { log, lines } = capture({ format });
    const word = "hunter2hunter2";
    log.child({ token: word }).error(`GET https://me:${word}@host/v2/ with Bearer ${word}`, {
      authorization: word,
      "eagle-authorization": word,
      Password: word,
      clusterSecret: word,
      access_token: word,
      url: new URL(`https://me:${word}@host/`),
      headers: new Headers({ Authorization: `Basic ${word}`, accept: "a" }),
      deep: { list: [{ secret: word }] },
      map: new Map([["token", word]]),
      error: new Error(`at //me:${word}@host`, { cause: new Error(`Bearer ${word}`) }),
      passwordFile: "/etc/eagle/password",
    });
    assert.equal(lines.length, 1);
    assert.ok(!lines[0]!.includes(word), lines[0]);
    assert.ok(lines[0]!.includes("/etc/eagle/password"));
  }
});

test("errors show name, message, code and their causes", () => {
  const { log, json } = capture();
  const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  log.error("x", { error: new TypeError("no answer", { cause }), many: new AggregateError([cause], "all failed") });
  assert.equal(json()[0].error, "TypeError: no answer <- Error: refused (ECONNREFUSED)");
  assert.equal(json()[0].many, "AggregateError: all failed [Error: refused (ECONNREFUSED)]");
});

test("hostile and large values are bounded and never throw", () => {
  const { log, lines, json } = capture();
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const loop = new Error("loop");
  loop.cause = loop;
  class Digest {
    toString() {
      return "sha256:aa";
    }
  }
  log.info("x".repeat(10_000), {
    circle,
    loop,
    digest: new Digest(),
    big: 12n,
    bytes: new Uint8Array(1 << 20),
    list: Array.from({ length: 10_000 }, (_, i) => i),
    wide: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i])),
    deep: { a: { b: { c: { d: { e: 1 } } } } },
    date: new Date(Number.NaN),
    nan: Number.NaN,
    getter: {
      get boom() {
        throw new Error("boom");
      },
    },
  });
  assert.equal(lines.length, 1);
  assert.ok(lines[0]!.length < 10_000, String(lines[0]!.length));
  const line = json()[0];
  assert.equal(line.digest, "sha256:aa");
  assert.equal(line.big, "12");
  assert.equal(line.bytes, "[1048576 bytes]");
  assert.equal(line.circle.self, "[circular]");
  assert.equal(line.list.length, 51);
});

test("a write that throws is ignored, and silentLogger is silent", () => {
  const log = createLogger({
    write: () => {
      throw new Error("disk full");
    },
  });
  log.error("x");
  silentLogger.child({ a: 1 }).error("x");
  createLogger({ level: "error" }).info("not written");
});
