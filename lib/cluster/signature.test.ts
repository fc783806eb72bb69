/** @module Tests of signatures and web seed tokens. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { faultOf, isSignature, sign, WINDOW_SECONDS } from "./signature.ts";
import { isWebSeedToken, TOKEN_SECONDS, webSeedToken } from "./web-seed-token.ts";

const secret = "a secret of the cluster";
const parts = { method: "GET", authority: "10.0.0.1:61006", target: "/p2p/v1/blobs/sha256:ab?x=1" };
const at = 1_790_000_000;
const check = (header: string, changes: Partial<typeof parts> = {}, { secrets = [secret], seconds = at } = {}) =>
  faultOf(header, { ...parts, ...changes }, { secrets, seconds });

test("the header is what the design says, and can be made by hand", () => {
  const mac = createHmac("sha256", secret).update(`GET\n10.0.0.1:61006\n${parts.target}\n${at}`).digest("hex");
  assert.equal(sign(secret, parts, at), `Eagle ${at}.${mac}`);
  assert.equal(check(`Eagle ${at}.${mac}`), undefined);
  assert.ok(!sign(secret, parts, at).includes(secret));
});

test("a signature is good for its method, authority, target and time alone", () => {
  const header = sign(secret, parts, at);
  assert.equal(check(header, { method: "POST" }), "wrong");
  assert.equal(check(header, { authority: "10.0.0.2:61006" }), "wrong");
  assert.equal(check(header, { authority: "10.0.0.1:61007" }), "wrong");
  assert.equal(check(header, { target: "/p2p/v1/blobs/sha256:ab?x=2" }), "wrong");
  assert.equal(check(header.replace(`${at}`, `${at + 1}`)), "wrong");
  for (const away of [-WINDOW_SECONDS, WINDOW_SECONDS])
    assert.equal(check(header, {}, { seconds: at + away }), undefined);
  for (const away of [-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1])
    assert.equal(check(header, {}, { seconds: at + away }), "expired");
});

test("two secrets are good while one replaces the other", () => {
  const secrets = ["the new secret of all", secret];
  assert.equal(check(sign(secret, parts, at), {}, { secrets }), undefined);
  assert.equal(check(sign("the new secret of all", parts, at), {}, { secrets }), undefined);
  assert.equal(check(sign("some third secret", parts, at), {}, { secrets }), "wrong");
  assert.equal(check(sign(secret, parts, at), {}, { secrets: [] }), "wrong");
});

test("what is no signature is malformed, never a crash", () => {
  const mac = "0".repeat(64);
  for (const header of [
    "",
    "Eagle",
    "Eagle ",
    `Eagle ${at}`,
    `Eagle ${at}.`,
    `Eagle ${at}.${mac}0`,
    `Eagle -1.${mac}`,
  ]) {
    assert.equal(check(header), "malformed", header);
  }
  for (const header of [`Eagle ${at}.${mac.slice(1)}`, `Eagle 1e3.${mac}`, `Basic ${mac}`, `Eagle  ${at}.${mac}`])
    assert.equal(check(header), "malformed", header);
  assert.equal(check(`Eagle ${at}.${mac}`), "wrong");
  assert.ok(isSignature("eagle x") && isSignature("Eagle ") && !isSignature("Bearer Eagle ") && !isSignature(""));
});

test("a web seed token is bound to the digest, lasts a day, and is no signature", () => {
  const secrets = [secret];
  const token = webSeedToken(secret, "sha256:ab", at);
  assert.ok(isWebSeedToken(token, "sha256:ab", { secrets, seconds: at }));
  assert.ok(isWebSeedToken(token, "sha256:ab", { secrets: ["another secret", secret], seconds: at + TOKEN_SECONDS }));
  assert.ok(!isWebSeedToken(token, "sha256:ac", { secrets, seconds: at }));
  assert.ok(!isWebSeedToken(token, "sha256:ab", { secrets, seconds: at + TOKEN_SECONDS + 1 }));
  assert.ok(!isWebSeedToken(token, "sha256:ab", { secrets: ["another secret"], seconds: at }));
  assert.ok(!isWebSeedToken(token, "sha256:ab", { secrets: [], seconds: at }));
  for (const rubbish of ["", ".", "x", token.slice(0, -1), `${token}0`, token.replace(/^\d+/, "9999999999")])
    assert.ok(!isWebSeedToken(rubbish, "sha256:ab", { secrets, seconds: at }), rubbish);
  assert.equal(check(`Eagle ${token}`), "wrong");
});
