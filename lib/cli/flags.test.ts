/**
 * Tests of flags: values, help, errors.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFlags, renderHelp, UsageError } from "./flags.ts";

const spec = {
  name: "eagle get",
  about: "Fetches a blob.",
  args: { usage: "BLOB [FILE]", about: "BLOB is a URL; FILE is where it goes.", min: 1, max: 2 },
  flags: {
    config: { type: "string", short: "c", value: "FILE", about: "Configuration file." },
    "log-level": {
      type: "string",
      choices: ["debug", "info"],
      fallback: "info",
      about: "Least important lines written.",
    },
    seeder: { type: "string", multiple: true, about: "A seeder." },
    quiet: { type: "boolean", short: "q", about: "No progress." },
  },
  examples: ["eagle get https://docker.io/v2/x/blobs/sha256:aa"],
} as const;

test("values have their types", () => {
  const { values, args, wantsHelp } = parseFlags(spec, [
    "-qc",
    "a.yaml",
    "--seeder=a",
    "blob",
    "--seeder",
    "b",
    "--",
    "-file",
  ]);
  const level: "debug" | "info" = values["log-level"];
  const config: string | undefined = values.config;
  const seeders: string[] = values.seeder;
  const quiet: boolean = values.quiet;
  assert.deepEqual([level, config, seeders, quiet], ["info", "a.yaml", ["a", "b"], true]);
  assert.deepEqual(args, ["blob", "-file"]);
  assert.equal(wantsHelp, false);
  assert.deepEqual(parseFlags(spec, ["blob"]).values, {
    config: undefined,
    "log-level": "info",
    seeder: [],
    quiet: false,
  });
  assert.equal(parseFlags(spec, ["--config=-x", "blob"]).values.config, "-x");
  assert.equal(parseFlags(spec, ["--config", "-", "blob"]).values.config, "-");
  assert.equal(parseFlags(spec, ["--config=", "blob"]).values.config, "");
});

const wrong: [string[], RegExp][] = [
  [["blob", "--confg", "x"], /^eagle get: unknown flag --confg\. Did you mean --config\?\nTry: eagle get --help$/],
  [["blob", "-x"], /unknown flag -x\n/],
  [["blob", "--constructor"], /unknown flag --constructor/],
  [["blob", "--__proto__"], /unknown flag --__proto__/],
  [["blob", "--config"], /--config needs a value: --config FILE/],
  [["blob", "--config", "--quiet"], /--config needs a value/],
  [["blob", "--log-level", "loud"], /--log-level must be debug, info; not "loud"/],
  [["blob", "--quiet=1"], /--quiet takes no value/],
  [["blob", "--config=a", "-c", "b"], /-c is given twice/],
  [[], /an argument is missing: eagle get BLOB \[FILE\]/],
  [["a", "b", "c"], /too many arguments: "c"/],
];
for (const [args, message] of wrong) {
  test(`refused: ${args.join(" ")}`, () => {
    assert.throws(
      () => parseFlags(spec, args),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.equal(error.exitCode, 2);
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test("help wins over everything else", () => {
  for (const args of [["--help"], ["-h", "--unknown"], ["--config", "x", "-h"]]) {
    assert.equal(parseFlags(spec, args).wantsHelp, true);
  }
});

test("the help text is wrapped and complete", () => {
  assert.equal(
    renderHelp(spec, { width: 60 }),
    `Usage: eagle get [flags] BLOB [FILE]

Fetches a blob.

BLOB is a URL; FILE is where it goes.

Flags:
  -c, --config FILE      Configuration file.
      --log-level VALUE  Least important lines written. (one
                         of debug, info; default info)
      --seeder VALUE     A seeder. (may be repeated)
  -q, --quiet            No progress.
  -h, --help             Show this text.

Examples:
  eagle get https://docker.io/v2/x/blobs/sha256:aa
`,
  );
});
