/**
 * Tests of challenge.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { parseChallenges } from "./challenge.ts";

function plain(header: string) {
  return parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);
}

test("challenges of registries", () => {
  assert.deepStrictEqual(
    plain('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'),
    [
      [
        "bearer",
        { realm: "https://auth.docker.io/token", service: "registry.docker.io", scope: "repository:a/b:pull,push" },
      ],
    ],
  );
  assert.deepStrictEqual(plain('Basic realm="a \\"quoted\\" name"'), [["basic", { realm: 'a "quoted" name' }]]);
  assert.deepStrictEqual(plain("BEARER Realm=https://x/token , Service = y"), [
    ["bearer", { realm: "https://x/token", service: "y" }],
  ]);
  assert.deepStrictEqual(plain('Negotiate, Basic realm="a", Bearer realm="b"'), [
    ["negotiate", {}],
    ["basic", { realm: "a" }],
    ["bearer", { realm: "b" }],
  ]);
  assert.deepStrictEqual(plain('Negotiate YWJj==, Basic realm="a"'), [
    ["negotiate", {}],
    ["basic", { realm: "a" }],
  ]);
  assert.deepStrictEqual(plain('Bearer realm="a",realm="b"'), [["bearer", { realm: "a" }]]);
  assert.strictEqual(parseChallenges('Bearer __proto__="x",realm="r"')[0]?.params.get("realm"), "r");
});

test("hostile challenges end the list, fast", () => {
  assert.deepStrictEqual(plain(""), []);
  assert.deepStrictEqual(plain(",,, ,"), []);
  assert.deepStrictEqual(plain('realm="x"'), []);
  assert.deepStrictEqual(plain('Basic realm="a", Bearer realm="unfinished'), [
    ["basic", { realm: "a" }],
    ["bearer", {}],
  ]);
  assert.ok(parseChallenges("Basic a=b, ".repeat(10_000)).length <= 8);
  const many = parseChallenges(`Bearer ${Array.from({ length: 5000 }, (_, i) => `p${i}=v`).join(",")}`);
  assert.ok(many[0] !== undefined && many[0].params.size <= 32);
  for (const text of [
    `Bearer realm="${"\\".repeat(100_000)}`,
    `Bearer ${"a".repeat(100_000)}`,
    `Bearer${" ".repeat(100_000)}x`,
    `Bearer ${"=".repeat(100_000)}`,
    "Bearer \u0000=\u0000",
    "\u{1f4a9} x=y",
    `Bearer a${" ".repeat(4000)}b${" ".repeat(4000)}c`,
  ]) {
    assert.ok(parseChallenges(text).length <= 8);
  }
});

test("random headers never throw", () => {
  const alphabet = 'Bb =",\\\t/:az09-';
  let state = 42;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state;
  };
  for (let round = 0; round < 5000; round++) {
    const text = Array.from({ length: next() % 60 }, () => alphabet[(next() >> 8) % alphabet.length]).join("");
    assert.ok(parseChallenges(text).length <= 8);
  }
});
