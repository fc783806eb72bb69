/** @module Tests of Accept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAccept } from "./accept.ts";

test("what was asked for is admitted, and nothing else", () => {
  const accept = parseAccept("application/vnd.oci.image.index.v1+json, application/json;q=0.5, Text/*, a/b;q=0");
  for (const type of ["application/vnd.oci.image.index.v1+json", "Application/JSON; charset=utf-8", "text/plain"])
    assert.ok(accept.admits(type), type);
  for (const type of ["application/vnd.oci.image.manifest.v1+json", "a/b", ""]) assert.ok(!accept.admits(type), type);
});

test("no Accept, or anything: anything", () => {
  for (const header of [null, "", "*/*", "a/b, */*;q=0.1"]) assert.ok(parseAccept(header).admits("x/y"), `${header}`);
  assert.ok(!parseAccept("*/*;q=0").admits("x/y"));
});

test("the key is the same for the same set, another for another, and bounded", () => {
  assert.equal(parseAccept("a/b, c/d;q=0.5").key, parseAccept("C/D; q=0.5 ,a/b,a/b").key);
  assert.notEqual(parseAccept("a/b").key, parseAccept("a/b, c/d").key);
  assert.notEqual(parseAccept(null).key, parseAccept("*/*").key);
  const long = Array.from({ length: 1000 }, (_, i) => `application/x-${i}`).join();
  assert.ok(parseAccept(long).key.length < 600);
  assert.ok(!/[\r\n]/.test(parseAccept("a/b,\tc/d").key));
});
