/**
 * Tests of errors.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { ociError, RegistryError, registryErrorCode } from "./errors.ts";

test("the body is the one of the OCI specification", async () => {
  const response = ociError(404, "BLOB_UNKNOWN", "blob unknown", { digest: "sha256:x" });
  assert.strictEqual(response.status, 404);
  assert.strictEqual(response.headers.get("content-type"), "application/json");
  assert.deepStrictEqual(await response.json(), {
    errors: [{ code: "BLOB_UNKNOWN", message: "blob unknown", detail: { digest: "sha256:x" } }],
  });
  assert.deepStrictEqual(await ociError(502, "UNAVAILABLE", "m").json(), {
    errors: [{ code: "UNAVAILABLE", message: "m" }],
  });
});

test("statuses have codes, errors keep their cause", () => {
  const codes = [401, 403, 404, 410, 416, 429, 500, 503, 204, 302, 400].map(registryErrorCode);
  assert.deepStrictEqual(codes, [
    "unauthorized",
    "denied",
    "not_found",
    "not_found",
    "range",
    "rate_limited",
    "unavailable",
    "unavailable",
    "protocol",
    "protocol",
    "protocol",
  ]);
  const cause = new Error("inner");
  const error = new RegistryError("unauthorized", "m", { status: 401, challenge: "Basic", cause });
  assert.deepStrictEqual(
    [error.code, error.status, error.challenge, error.cause],
    ["unauthorized", 401, "Basic", cause],
  );
});
