/**
 * Tests of the YAML reader: what is refused, where, and what it may cost.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigError } from "./errors.ts";
import { parseYaml } from "./yaml.ts";

function problem(text: string) {
  try {
    parseYaml(text);
  } catch (error) {
    return (error as ConfigError).problems[0]!;
  }
  throw new Error("was not refused");
}

test("keys are located, through aliases and lists too", () => {
  const { value, locate } = parseYaml("a: &x\n  b: 1\nc:\n  - *x\n  - d: 2\n");
  assert.deepEqual(value, { a: { b: 1 }, c: [{ b: 1 }, { d: 2 }] });
  assert.deepEqual(locate(["a", "b"]), { line: 2, column: 3 });
  assert.deepEqual(locate(["c", 1, "d"]), { line: 5, column: 5 });
  assert.deepEqual(locate(["c", 0, "b"]), { line: 2, column: 3 });
  assert.deepEqual(locate(["a", "missing"]), { line: 1, column: 1 });
  assert.equal(locate(["missing"]), undefined);
  assert.equal(parseYaml("# nothing").value, undefined);
});

const refused: [string, RegExp, number, number][] = [
  ["a: 1\nb: 2\na: 3\n", /twice/, 3, 1],
  ["a:\n  b: 1\n  'b': 2\n", /twice/, 3, 3],
  ["a:\n  - b\n c: 1\n", /same column/, 3, 1],
  ["a: [1\n", /flow sequence/i, 2, 1],
  ["\ta: 1\n", /tabs/i, 1, 1],
  ["a: !!js/function x\n", /tag/, 1, 4],
  ["a: 1\n---\nb: 2\n", /multiple documents/, 2, 1],
  ["? [a]\n: 1\n", /plain text/, 1, 3],
];
for (const [text, message, line, column] of refused) {
  test(`refused: ${JSON.stringify(text)}`, () => {
    const found = problem(text);
    assert.match(found.message, message);
    assert.deepEqual([found.line, found.column], [line, column]);
  });
}

test("aliases that multiply, and aliases of nothing, are refused", () => {
  const laughs = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (const [to, from] of ["ba", "cb", "dc", "ed", "fe", "gf", "hg", "ih"]) {
    laughs.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join(", ")}]`);
  }
  assert.match(problem(laughs.join("\n")).message, /alias/i);
  assert.match(problem("a: &a [*a]\n").message, /alias/i);
  assert.match(problem("a: *none\n").message, /alias/i);
});

test("files made to keep the parser busy are refused soon or read soon", () => {
  assert.match(problem("[".repeat(1 << 19)).message, /brackets/);
  assert.ok(problem("[".repeat(5000)).message.length < 500);
  const many = Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join("\n");
  assert.equal(Object.keys(parseYaml(many).value as object).length, 20_000);
});
