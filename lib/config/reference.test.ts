/**
 * Keeps docs/configuration.md and the example files in step with the schemas.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isMap, isScalar, isSeq, parseDocument } from "yaml";
import { keysOf } from "./keys.ts";
import { loadConfig } from "./load.ts";
import { proxyConfigSchema } from "./proxy.ts";
import { renderReference } from "./reference.ts";
import { seederConfigSchema } from "./seeder.ts";
import { trackerConfigSchema } from "./tracker.ts";

const schemas = { proxy: proxyConfigSchema, seeder: seederConfigSchema, tracker: trackerConfigSchema } as const;
const root = new URL("../../", import.meta.url);

test("docs/configuration.md is what the schemas say (node lib/config/reference.ts > docs/configuration.md)", () => {
  assert.equal(readFileSync(new URL("docs/configuration.md", root), "utf8"), renderReference());
});

for (const app of ["proxy", "seeder", "tracker"] as const) {
  const file = fileURLToPath(new URL(`deploy/examples/${app}.yaml`, root));
  const text = readFileSync(file, "utf8");

  test(`${app}: the example loads`, () => {
    loadConfig(schemas[app], { app, file });
  });

  test(`${app}: the example's lines with "# default" hold the defaults, and those alone`, () => {
    const written = defaultsOf(app);
    const claims: string[] = [];
    for (const { path, value, comment } of leaves(parseDocument(text).contents)) {
      const fallback = written.get(withoutHost(path));
      const isDefault = fallback === (typeof value === "string" ? value : JSON.stringify(value));
      assert.equal(
        comment === "default",
        isDefault,
        `${path.join(".")}: ${JSON.stringify(value)}, default ${fallback}`,
      );
      if (isDefault) claims.push(path.join("."));
    }
    assert.ok(claims.length > 4, String(claims));
  });

  test(`${app}: the example mentions every key`, () => {
    for (const { path } of keysOf(schemas[app])) {
      assert.match(text, new RegExp(`^ *(# |.*\\()?${path.at(-1)}:`, "m"), path.join("."));
    }
  });

  test(`${app}: the defaults and the examples of the reference are accepted`, () => {
    for (const { path, doc } of keysOf(schemas[app])) {
      if (
        /File$|^ca$|^username$|^password$|Env$|^dockerConfig$|^allow$|^accessKeyId$|^secretAccessKey$|^previousSecret$|^intercept$/.test(
          path.at(-1)!,
        )
      )
        continue; // they need files or each other
      for (const example of [doc.example, doc.default].filter((each) => each !== undefined)) {
        const line = path.reduceRight((inner, name) => `{"${name.replace("<host>", "docker.io")}": ${inner}}`, example);
        loadConfig(schemas[app], { app, object: parseDocument(line).toJS() });
      }
    }
  });
}

function defaultsOf(app: keyof typeof schemas): Map<string, string | undefined> {
  return new Map(keysOf(schemas[app]).map(({ path, doc }) => [path.join("."), doc.default]));
}

function withoutHost(path: string[]): string {
  return path.map((name, i) => (i === 1 && path[0] === "registries" ? "<host>" : name)).join(".");
}

function* leaves(node: unknown, path: string[] = []): Generator<{ path: string[]; value: unknown; comment?: string }> {
  if (isMap(node)) {
    for (const { key, value } of node.items) yield* leaves(value, [...path, isScalar(key) ? String(key.value) : ""]);
  } else if (isScalar(node) || isSeq(node)) {
    yield { path, value: node.toJSON(), ...(node.comment ? { comment: node.comment.split("\n")[0]!.trim() } : {}) };
  }
}
