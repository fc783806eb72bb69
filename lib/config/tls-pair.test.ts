/**
 * Tests of certificates and keys named by a configuration.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loadConfig } from "./load.ts";
import { trackerConfigSchema } from "./tracker.ts";

// A pair made for this test, and the key of nobody.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUVN6ySKcYgAWaBaNFnpSLOE6go6YwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDAzNTY0MFoYDzIxMjYxMDMx
MDM1NjQwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASIvU98SswyjLT3HdQYBiJJ0B2RaOGcIjKexbZJrDrshlsLcXcBCBXQ
C9rS6DKGViNz+8SuUriohC8+xjNsN916o1MwUTAdBgNVHQ4EFgQUCEHte3WS1bX7
I3UgEca/L03mFeAwHwYDVR0jBBgwFoAUCEHte3WS1bX7I3UgEca/L03mFeAwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAq9aRTRF/alsKPHU1YZ5i
TMlItI4P83d2has0dMwO88kCIQCQ7QMSoC/1c9nYpUGLe866S1iEQMjyD5VgW3Q/
iCy1YA==
-----END CERTIFICATE-----
`;
const ownKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOhBFTGpegWAuupkW
o3lHwUwa17XP7CDglTbxlI+a7cyhRANCAASIvU98SswyjLT3HdQYBiJJ0B2RaOGc
IjKexbZJrDrshlsLcXcBCBXQC9rS6DKGViNz+8SuUriohC8+xjNsN916
-----END PRIVATE KEY-----
`;
const otherKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPdxAHOAZsGTZojAZhQXEXQRKlpXinIiJs5hoRL+kiw9
-----END PRIVATE KEY-----
`;

let dir = "";
const path = (name: string) => join(dir, name);

before(() => {
  dir = mkdtempSync(join(tmpdir(), "eagle-tls-"));
  writeFileSync(path("tls.crt"), certificate);
  writeFileSync(path("tls.key"), ownKey);
  writeFileSync(path("other.key"), otherKey);
  writeFileSync(path("broken.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  writeFileSync(
    path("locked.key"),
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
  );
  writeFileSync(path("text"), "hello");
});

after(() => rmSync(dir, { recursive: true }));

const load = (certFile?: string, keyFile?: string) =>
  loadConfig(trackerConfigSchema, {
    app: "tracker",
    object: {
      trackerCfg: { ...(certFile && { certFile: path(certFile) }), ...(keyFile && { keyFile: path(keyFile) }) },
    },
  });

test("a pair that fits is returned with path and content", () => {
  const { trackerCfg } = load("tls.crt", "tls.key");
  assert.deepEqual(trackerCfg.certFile, { path: path("tls.crt"), content: certificate });
  assert.deepEqual(trackerCfg.keyFile, { path: path("tls.key"), content: ownKey });
});

const refused: [string | undefined, string | undefined, RegExp][] = [
  ["tls.crt", undefined, /trackerCfg\.keyFile: missing, though certFile is given/],
  [undefined, "tls.key", /trackerCfg\.certFile: missing, though keyFile is given/],
  ["tls.crt", "other.key", /trackerCfg\.keyFile: .*other\.key is not the key of the certificate in .*tls\.crt/],
  ["broken.crt", "tls.key", /trackerCfg\.certFile: .*cannot be read/],
  ["tls.crt", "locked.key", /trackerCfg\.keyFile: .*is encrypted/],
  ["text", "tls.key", /trackerCfg\.certFile: .*holds no PEM certificate/],
  ["tls.key", "tls.key", /trackerCfg\.certFile: .*holds no PEM certificate/],
  ["missing", "tls.key", /trackerCfg\.certFile: cannot read .*missing: there is no such file/],
];
for (const [certFile, keyFile, message] of refused) {
  test(`refused: certFile ${certFile}, keyFile ${keyFile}`, () => {
    assert.throws(() => load(certFile, keyFile), { name: "ConfigError", code: "invalid", message });
  });
}
