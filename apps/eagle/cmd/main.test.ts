/**
 * @module The command line itself: help, mistakes, exit codes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eagle } from "../testing/run-eagle.ts";
import { COMMANDS } from "./commands.ts";
import { renderOverview } from "./overview.ts";

test("the overview names every command and fits a terminal", () => {
  const text = renderOverview(COMMANDS);
  for (const { name } of COMMANDS) assert.match(text, new RegExp(`^  eagle ${name}\\b`, "m"));
  for (const line of text.split("\n")) assert.ok(line.length <= 120, line);
});

test("help is on stdout and exits 0; mistakes are on stderr and exit 2", async () => {
  const [help, nothing, mistyped, version] = await Promise.all([
    eagle(["--help"]),
    eagle([]),
    eagle(["dmo"]),
    eagle(["--version"]),
  ]);
  assert.deepEqual(help, { code: 0, stdout: renderOverview(COMMANDS), stderr: "" });
  assert.deepEqual(nothing, { code: 2, stdout: "", stderr: renderOverview(COMMANDS) });
  assert.equal(mistyped.code, 2);
  assert.match(mistyped.stderr, /Did you mean demo\?/);
  assert.match(version.stdout, /^eagle \d+\.\d+\.\d+\n$/);
});

for (const { name, load } of COMMANDS) {
  test(`eagle ${name} explains itself`, async () => {
    const { code, stdout, stderr } = await eagle([name, "--help"]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^Usage: eagle ${name} `));
  });
  // The services report for themselves; one of them is tried below.
  test(`eagle ${name} refuses a flag it does not know`, {
    skip: ["tracker", "seeder", "proxy"].includes(name),
  }, async () => {
    const { run } = await load();
    await assert.rejects(run(["--no-such-flag"]), { name: "UsageError", message: /unknown flag --no-such-flag/ });
  });
}

test("a part refuses a broken configuration file, without a stack", async () => {
  const { code, stderr } = await eagle(["proxy", "--config", "/nonexistent/proxy.yaml"]);
  assert.equal(code, 1);
  assert.match(stderr, /\/nonexistent\/proxy\.yaml/);
  assert.doesNotMatch(stderr, /\n {4}at /);
});
