/** @module Tests of who is known again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WireBans } from "./wire-bans.ts";

test("a liar is known by its address, whatever port or form it has", () => {
  const bans = new WireBans();
  bans.add({ host: "10.0.0.7", port: 6881, peerId: "aa".repeat(20) });
  assert.equal(bans.has({ host: "10.0.0.7", port: 1 }), true);
  assert.equal(bans.has({ host: "::ffff:10.0.0.7", port: 2 }), true);
  assert.equal(bans.hasHost("::ffff:10.0.0.7"), true);
  assert.equal(bans.has({ host: "10.0.0.8", port: 6881 }), false);
});

test("and by its peer id", () => {
  const bans = new WireBans();
  bans.add({ host: "10.0.0.7", port: 6881, peerId: "aa".repeat(20) });
  assert.equal(bans.has({ host: "10.0.0.9", port: 6881, peerId: "aa".repeat(20) }), true);
  assert.equal(bans.has({ host: "10.0.0.9", port: 6881, peerId: "ab".repeat(20) }), false);
});

test("on loopback the port counts: others are there as well", () => {
  const bans = new WireBans();
  bans.add({ host: "127.0.0.1", port: 6881 });
  bans.add({ host: "[::1]", port: 6881 });
  assert.equal(bans.has({ host: "127.0.0.1", port: 6881 }), true);
  assert.equal(bans.has({ host: "::1", port: 6881 }), true);
  assert.equal(bans.has({ host: "127.0.0.1", port: 6882 }), false);
  assert.equal(bans.hasHost("127.0.0.1"), false);
});
