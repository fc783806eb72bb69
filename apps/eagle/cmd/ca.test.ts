/** @module `eagle ca`: files that the proxy takes, and none that are written over. */
import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadConfig, proxyConfigSchema } from "../../../lib/config/index.ts";
import { eagle } from "../testing/run-eagle.ts";
import { tempDirectory } from "../testing/temp-directory.ts";

test("a pair that the proxy takes; a second run leaves it alone", async () => {
  await using directory = await tempDirectory();
  const output = join(directory.path, "new");
  const args = ["ca", "--host", "docker.io", "--host", "registry.example.com:5000", "--output", output];
  const { code, stdout, stderr } = await eagle(args);
  assert.equal(code, 0, stderr);
  const [certFile, keyFile] = [join(output, "intercept-ca.crt"), join(output, "intercept-ca.key")];
  for (const text of [certFile, keyFile, "/etc/docker/certs.d/docker.io/ca.crt", "HTTPS_PROXY"]) {
    assert.ok(stdout.includes(text), stdout);
  }
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  const proxyCfg = {
    origin: "docker.io",
    origins: "registry.example.com:5000",
    intercept: ["docker.io", "registry.example.com:5000"],
    interceptCertFile: certFile,
    interceptKeyFile: keyFile,
  };
  loadConfig(proxyConfigSchema, { app: "proxy", object: { proxyCfg } });

  const before = await readFile(keyFile, "utf8");
  const again = await eagle(args);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is there already and stays as it is/);
  assert.equal(await readFile(keyFile, "utf8"), before);
});

test("values that make no sense", async () => {
  for (const args of [
    ["--days", "0"],
    ["--name", ""],
    ["--host", "a b"],
  ]) {
    const { code, stderr } = await eagle(["ca", ...args]);
    assert.equal(code, 2, stderr);
    assert.ok(stderr.includes(args[0]!), stderr);
  }
});
