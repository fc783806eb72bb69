/**
 * Tests of the section `registries`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Upstreams } from "../registry/upstreams.ts";
import { loadConfig } from "./load.ts";
import { registryInits } from "./registries.ts";
import { seederConfigSchema } from "./seeder.ts";

let directory = "";
let dockerConfig = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "eagle-registries-"));
  dockerConfig = join(directory, "config.json");
  writeFileSync(dockerConfig, '{"auths":{}}');
  process.env.EAGLE_TEST_REGISTRY_USER = "robot";
  process.env.EAGLE_TEST_REGISTRY_PASSWORD = "s3cret";
});
after(() => {
  rmSync(directory, { recursive: true });
  delete process.env.EAGLE_TEST_REGISTRY_USER;
  delete process.env.EAGLE_TEST_REGISTRY_PASSWORD;
});

const load = (registries: Record<string, unknown>) =>
  registryInits(loadConfig(seederConfigSchema, { app: "seeder", object: { registries } }).registries);

test("mirrors, the environment, docker's config.json, and the rest", () => {
  const inits = load({
    "quay.io": {
      mirrors: "mirror.example:5000/quay",
      usernameEnv: "EAGLE_TEST_REGISTRY_USER",
      passwordEnv: "EAGLE_TEST_REGISTRY_PASSWORD",
    },
    "ghcr.io": { dockerConfig },
    _default: { upstream: "https://{host}", dockerConfig, allow: ["*.example.com", "Quay.io:443"] },
  });
  assert.deepEqual(inits, {
    "quay.io": { mirrors: ["mirror.example:5000/quay"], plainHTTP: false, username: "robot", password: "s3cret" },
    "ghcr.io": { dockerConfig, plainHTTP: false },
    _default: { upstream: "https://{host}", dockerConfig, allow: ["*.example.com", "quay.io"], plainHTTP: false },
  });
  const upstreams = new Upstreams({ registries: inits });
  assert.equal(upstreams.byName("quay.io")?.mirrors?.[0]?.prefix, "quay/");
  assert.ok(upstreams.byName("a.example.com") && !upstreams.byName("docker.io"));
});

const wrong: [Record<string, unknown>, RegExp][] = [
  [
    { "a.example": { mirrors: ["m.example/UPPER"] } },
    /registries\.a\.example\.mirrors.*item 1.*no name of a repository/,
  ],
  [{ "a.example": { mirrors: ["ftp://m.example"] } }, /mirrors.*only http/],
  [{ "a.example": { allow: ["b.example"] } }, /a\.example\.allow.*belongs into _default/],
  [{ "a.example": { upstream: "https://{host}" } }, /a\.example\.upstream.*belongs into _default/],
  [{ "a.example": { usernameEnv: "EAGLE_TEST_NONE", password: "s3cret" } }, /usernameEnv.*no variable EAGLE_TEST_NONE/],
  [{ "a.example": { usernameEnv: "a b", password: "s3cret" } }, /usernameEnv.*not the name of an environment variable/],
  [
    { "a.example": { username: "u", usernameEnv: "EAGLE_TEST_REGISTRY_USER", password: "s3cret" } },
    /usernameEnv.*username is given too/,
  ],
  [
    { "a.example": { username: "u", password: "s3cret", passwordEnv: "EAGLE_TEST_REGISTRY_PASSWORD" } },
    /passwordEnv.*password is given too/,
  ],
  [{ "a.example": { passwordEnv: "EAGLE_TEST_REGISTRY_PASSWORD" } }, /a\.example\.username.*missing/],
  [{ "a.example": { dockerConfig: "/nowhere/config.json" } }, /dockerConfig.*\/nowhere\/config\.json/],
  [{ _default: { username: "u", password: "s3cret" } }, /_default\.username.*dockerConfig/],
  [{ _default: { upstream: "one.example" } }, /_default\.upstream.*\{host\}/],
  [{ _default: { allow: "a/b" } }, /_default\.allow.*not a registry/],
  [{ _other: {} }, /_other/],
];
for (const [registries, message] of wrong) {
  test(`refused: ${JSON.stringify(registries)}`, () => {
    assert.throws(
      () => load(registries),
      (error) => error instanceof Error && message.test(error.message) && !error.message.includes("s3cret"),
    );
  });
}

test("refused: credentials in two ways, and a config.json that is none", () => {
  assert.throws(
    () => load({ "a.example": { username: "u", password: "p", dockerConfig } }),
    /dockerConfig.*username is given too/,
  );
  const none = join(directory, "none.json");
  writeFileSync(none, "s3cret");
  assert.throws(
    () => load({ "a.example": { dockerConfig: none } }),
    (error) =>
      error instanceof Error && /no config\.json of docker/.test(error.message) && !/s3cret/.test(error.message),
  );
});
