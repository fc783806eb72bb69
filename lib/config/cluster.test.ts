/** @module Tests of the section `cluster`. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { clusterAuth } from "../cluster/from-config.ts";
import { clusterCa, partCertificate, strangerCertificate } from "../cluster/testing/certificates.ts";
import { silentLogger } from "../log/log.ts";
import { loadConfig } from "./load.ts";
import { proxyConfigSchema } from "./proxy.ts";
import { seederConfigSchema } from "./seeder.ts";
import { trackerConfigSchema } from "./tracker.ts";

const dir = mkdtempSync(join(tmpdir(), "eagle-config-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

const load = (cluster: Record<string, unknown>) =>
  loadConfig(trackerConfigSchema, { app: "tracker", object: { cluster } }).cluster;
const refused = (cluster: Record<string, unknown>, message: RegExp) => assert.throws(() => load(cluster), message);

const secret = "a secret of the cluster";
const ca = file("ca.pem", clusterCa);
const certFile = file("part.pem", partCertificate.cert);
const keyFile = file("part.key", partCertificate.key);

test("the same section in all three", () => {
  for (const [schema, app] of [
    [proxyConfigSchema, "proxy"],
    [seederConfigSchema, "seeder"],
    [trackerConfigSchema, "tracker"],
  ] as const) {
    const { cluster } = loadConfig(schema, { app, object: { cluster: { secret } } }) as { cluster: unknown };
    assert.deepEqual(cluster, { secret, addresses: [] });
  }
});

test("a secret in a file, certificates, addresses", () => {
  assert.equal(load({ secretFile: file("secret", `${secret}\n`) }).secret, secret);
  const loaded = load({ ca, certFile, keyFile, addresses: ["203.0.113.7", "203.0.113.7:6969", "[2001:DB8::1]:1"] });
  assert.deepEqual(loaded.addresses, ["203.0.113.7", "203.0.113.7:6969", "[2001:db8::1]:1"]);
  const auth = clusterAuth(loaded, { advertise: "203.0.113.9", log: silentLogger });
  assert.ok(auth.isMutual && auth.closed);
  assert.deepEqual(auth.serverTls(), { ...partCertificate, clientCa: clusterCa });
  const own = { cert: "c", key: "k" };
  assert.deepEqual(auth.serverTls(own), { ...own, clientCa: clusterCa }, "a port's own certificate comes first");
  const plain = clusterAuth(load({ secret, ca }), { log: silentLogger });
  assert.ok(plain.closed && !plain.isMutual && plain.serverTls() === undefined && plain.scheme === "http");
});

test("what cannot work, or can be guessed, is refused without being shown", () => {
  refused({ secret: "hunter2" }, /cluster\.secret: the secret is shorter than 16 characters/);
  assert.throws(
    () => load({ secret: "hunter2" }),
    (error: Error) => !error.message.includes("hunter2"),
  );
  refused({ secretFile: file("short", "hunter2\n") }, /cluster\.secretFile.*shorter/);
  refused({ secret, secretFile: file("secret", secret) }, /cluster\.secretFile.*Keep one/);
  refused({ previousSecret: secret }, /cluster\.secretFile.*missing, though previousSecret/);
  refused({ certFile, keyFile }, /cluster\.ca.*missing, though certFile/);
  refused({ ca, certFile }, /cluster\.keyFile.*missing/);
  refused({ ca, certFile, keyFile: file("other.key", strangerCertificate.key) }, /not the key of the certificate/);
  refused({ addresses: ["tracker.internal"] }, /cluster\.addresses.*is not an address/);
  refused({ secrets: "x" }, /Did you mean cluster\.secret/);
});
