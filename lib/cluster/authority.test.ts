/** @module Tests of authorities. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalAuthority, isOwnAuthority } from "./authority.ts";

const canonical = (text: string, secure = false) => canonicalAuthority(text, { secure });

test("one spelling for one authority", () => {
  assert.equal(canonical("Seeder.Internal"), "seeder.internal:80");
  assert.equal(canonical("seeder", true), "seeder:443");
  assert.equal(canonical("10.0.0.1:80"), "10.0.0.1:80");
  assert.equal(canonical("10.0.0.1:61006"), "10.0.0.1:61006");
  assert.equal(canonical("[2001:DB8:0:0::1]:61006"), "[2001:db8::1]:61006");
  assert.equal(canonical("0x7f.1:1"), "127.0.0.1:1");
  for (const text of ["", "a b", "a/b", "user@host", "host:99999", "host?x", "::1", "[::1", "host#x", "a\\b"])
    assert.equal(canonical(text), undefined, text);
});

test("an address must be this end's own; a name stands in somebody's configuration", () => {
  const end = { localAddress: "10.0.0.1", localPort: 61006 };
  const isOwn = (authority: string, known: string[] = []) => isOwnAuthority(authority, end, new Set(known));
  assert.ok(isOwn("10.0.0.1:61006"));
  assert.ok(!isOwn("10.0.0.2:61006"), "another host's");
  assert.ok(!isOwn("10.0.0.1:61007"), "another port's of this host: another process");
  assert.ok(isOwn("seeder.internal:55008"));
  assert.ok(isOwn("203.0.113.7:61006", ["203.0.113.7"]), "as advertised");
  assert.ok(!isOwn("203.0.113.7:1", ["203.0.113.7"]));
  assert.ok(isOwn("203.0.113.7:1", ["203.0.113.7:1"]));
  const six = { localAddress: "2001:db8::1", localPort: 1 };
  assert.ok(isOwnAuthority("[2001:db8::1]:1", six, new Set()));
  assert.ok(!isOwnAuthority("[2001:db8::2]:1", six, new Set()));
  assert.ok(isOwnAuthority("10.0.0.1:1", { localAddress: "::ffff:10.0.0.1", localPort: 1 }, new Set()));
});
