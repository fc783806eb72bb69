/** @module Tests of `proxyCfg.intercept`. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createAuthority, Issuer } from "../tls/certificate.ts";
import { loadConfig } from "./load.ts";
import { proxyConfigSchema } from "./proxy.ts";

let dir = "";
const files: Record<string, string> = {};

before(() => {
  dir = mkdtempSync(join(tmpdir(), "eagle-intercept-"));
  const authority = createAuthority({ name: "CA" });
  const leaf = new Issuer(authority).issue("a.example");
  for (const [name, text] of Object.entries({ ...authority, leaf: leaf.cert, leafKey: leaf.key })) {
    files[name] = join(dir, name);
    writeFileSync(files[name], text);
  }
});
after(() => rmSync(dir, { recursive: true }));

function load(proxyCfg: Record<string, unknown>, registries: Record<string, unknown> = {}) {
  return loadConfig(proxyConfigSchema, { app: "proxy", object: { proxyCfg, registries } }).proxyCfg;
}

const pair = () => ({ interceptCertFile: files.cert, interceptKeyFile: files.key });

test("registries are known by one spelling each", () => {
  const { intercept, interceptCertFile } = load({
    origin: "docker.io",
    origins: ["registry.example.com:5000"],
    intercept: ["registry-1.docker.io", "Registry.example.com:5000"],
    ...pair(),
  });
  assert.deepEqual(intercept, ["docker.io", "registry.example.com:5000"]);
  assert.match(interceptCertFile?.content ?? "", /BEGIN CERTIFICATE/);
  assert.deepEqual(load({}).intercept, []);
});

test("what cannot work is refused", () => {
  const refused = (cfg: Record<string, unknown>, message: RegExp, registries?: Record<string, unknown>) =>
    assert.throws(() => load({ origin: "a.example", ...cfg }, registries), { name: "ConfigError", message });
  refused(
    { intercept: "a.example" },
    /interceptCertFile: missing, though intercept is given[\s\S]*interceptKeyFile: missing/,
  );
  refused({ interceptCertFile: files.cert }, /interceptKeyFile: missing, though interceptCertFile/);
  refused({ intercept: "b.example", ...pair() }, /intercept: b\.example is not among origin.*one of a\.example/);
  refused({ intercept: "http://a.example", ...pair() }, /not a host or host:port/);
  refused({ origin: "http://a.example", intercept: "a.example", ...pair() }, /not among origin/);
  refused({ intercept: "a.example", ...pair() }, /plain HTTP/, { "a.example": { plainHTTP: true } });
  refused(
    { intercept: "a.example", interceptCertFile: files.leaf, interceptKeyFile: files.leafKey },
    /CA:TRUE is missing/,
  );
  refused(
    { intercept: "a.example", interceptCertFile: files.cert, interceptKeyFile: files.leafKey },
    /another certificate/,
  );
});
