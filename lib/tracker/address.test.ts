/** @module Tests of addresses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalIp, hostPort, isLoopback, isUnicast, packAddress, unpackAddress } from "./address.ts";

test("one spelling for one address", () => {
  const cases: [string, string | undefined][] = [
    ["10.0.0.1", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::FFFF:10.0.0.1", "10.0.0.1"],
    ["::ffff:a00:1", "10.0.0.1"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["::1", "::1"],
    ["localhost", undefined],
    ["10.0.0.1.example", undefined],
    ["256.1.1.1", undefined],
    ["", undefined],
    ["[::1]", undefined],
  ];
  for (const [text, ip] of cases) assert.equal(canonicalIp(text), ip, text);
});

test("packs and unpacks", () => {
  for (const ip of ["10.1.2.3", "255.0.255.0", "::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "fe80::a:b", "1::"]) {
    for (const port of [1, 255, 256, 65535]) {
      const packed = packAddress(ip, port);
      assert.equal(packed.length, ip.includes(":") ? 18 : 6);
      assert.deepEqual(unpackAddress(packed), { ip, port });
    }
  }
});

test("tells kinds of addresses", () => {
  assert.ok(isLoopback("127.9.9.9") && isLoopback("::1") && !isLoopback("128.0.0.1"));
  for (const ip of ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"]) assert.ok(!isUnicast(ip), ip);
  for (const ip of ["127.0.0.1", "10.0.0.1", "fe80::1", "2001:db8::1"]) assert.ok(isUnicast(ip), ip);
  assert.equal(hostPort("::1", 80), "[::1]:80");
});
