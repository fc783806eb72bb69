/**
 * Tests of sizes, watermarks, endpoints, client rules and the search for near words.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAllowClients } from "./allow-clients.ts";
import { parseDuration } from "./duration.ts";
import { parseEndpoint, parseHost, parseOrigin } from "./endpoint.ts";
import { minFreeBytes, parseMinFree } from "./min-free.ts";
import { nearest } from "./nearest.ts";
import { formatSize, parseSize } from "./size.ts";

const refused = { name: "ConfigError", code: "invalid" };

test("sizes", () => {
  const right: [string | number, number][] = [
    ["0", 0],
    ["1000", 1000],
    [1000, 1000],
    ["1K", 1024],
    ["3M", 3 * 1024 ** 2],
    ["100G", 100 * 1024 ** 3],
    ["1T", 1024 ** 4],
    ["8191T", 8191 * 1024 ** 4],
  ];
  for (const [text, bytes] of right) assert.equal(parseSize(text), bytes);
  for (const text of [
    "",
    "G",
    "1k",
    "1GB",
    "1GiB",
    "1.5G",
    "-1",
    " 1",
    "1 G",
    "0x10",
    "1e3",
    "8192T",
    -1,
    1.5,
    null,
    [],
    {},
  ]) {
    assert.throws(() => parseSize(text), refused, String(text));
  }
  assert.throws(() => parseSize("100gib"), /did you mean 100G\?/);
});

test("durations", () => {
  for (const [text, length] of [
    ["90s", 90],
    ["45m", 2700],
    ["12h", 43_200],
    ["30d", 2_592_000],
  ] as const) {
    assert.equal(parseDuration(text), length);
  }
  for (const text of ["", "30", 30, "0d", "1.5h", "-1d", "1 d", "1w", "36501d", "999999999999d", null, [], {}]) {
    assert.throws(() => parseDuration(text), refused, String(text));
  }
});

test("formatSize is read back exactly", () => {
  for (const [bytes, text] of [
    [0, "0"],
    [1000, "1000"],
    [1024, "1K"],
    [1536 * 1024 ** 2, "1536M"],
    [2 * 1024 ** 5, "2048T"],
  ] as const) {
    assert.equal(formatSize(bytes), text);
    assert.equal(parseSize(text), bytes);
  }
});

test("the free-space watermark", () => {
  assert.equal(minFreeBytes(parseMinFree("5%"), 1000), 50);
  assert.equal(minFreeBytes(parseMinFree("0.5%"), 1001), 6);
  assert.equal(minFreeBytes(parseMinFree("0%"), 1000), 0);
  assert.equal(minFreeBytes(parseMinFree("1K"), 10), 1024);
  for (const text of ["100%", "101%", "%", "-5%", "5%%", "1e1%"])
    assert.throws(() => parseMinFree(text), refused, text);
});

test("endpoints", () => {
  const right: [string, string][] = [
    ["host", "http://host:1234/"],
    ["host:80", "http://host/"],
    ["host:81", "http://host:81/"],
    ["Host.Example.com:81", "http://host.example.com:81/"],
    ["10.0.0.1:81", "http://10.0.0.1:81/"],
    ["[::1]:81", "http://[::1]:81/"],
    ["[::1]", "http://[::1]:1234/"],
    ["http://host", "http://host/"],
    ["HTTPS://host:8443/path", "https://host:8443/path"],
    ["host/path", "http://host:1234/path"],
  ];
  for (const [text, url] of right) assert.equal(parseEndpoint(text, { defaultPort: 1234 }).href, url, text);
  assert.equal(parseEndpoint("h", { scheme: "https", defaultPath: "/announce" }).href, "https://h/announce");
  for (const text of [
    "",
    5,
    null,
    "::1",
    "fd00::1:80",
    "udp://h:1",
    "ftp://h",
    "javascript:alert(1)",
    "a@b",
    "http://u:p@h",
    "h:0",
    "h:65536",
    "h:x",
    "h:",
    "h?x=1",
    "http://h/?x",
    "http://h/#x",
    "a b",
    "h\n",
    "256",
    "0x7f.1",
    "1.2.3",
    "[::1",
    "[zz]",
    "http://",
    "//h",
    "/path",
    "h".repeat(3000),
  ]) {
    assert.throws(() => parseEndpoint(text), refused, String(text));
  }
});

test("origins keep whether they had a scheme", () => {
  assert.equal(parseOrigin("Docker.io"), "docker.io");
  assert.equal(parseOrigin("127.0.0.1:443"), "127.0.0.1:443");
  assert.equal(parseOrigin("http://Host:5000/"), "http://host:5000");
  for (const text of ["host/library", "https://host/v2/", "u@h", ""])
    assert.throws(() => parseOrigin(text), refused, text);
});

test("hosts", () => {
  for (const text of ["0.0.0.0", "localhost", "a-b.c_d.example", "fe80::1"]) assert.equal(parseHost(text), text);
  assert.equal(parseHost("[::1]"), "::1");
  for (const text of ["", "a b", "host:80", "http://h", "1.2.3", "256.1.1.1", "-a", "a..b", "[a]", "a/b", 5, null]) {
    assert.throws(() => parseHost(text), refused, String(text));
  }
});

test("clients", () => {
  const { allows } = parseAllowClients(["loopback"]);
  for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) assert.ok(allows(address), address);
  for (const address of ["10.0.0.1", "::2", "::ffff:10.0.0.1", "", "localhost"]) assert.ok(!allows(address), address);
  assert.ok(parseAllowClients(["any"]).allows("8.8.8.8"));
  for (const rule of ["", "all", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/-1", "::/129", 5, null]) {
    assert.throws(() => parseAllowClients([rule]), refused, String(rule));
  }
});

test("near words", () => {
  const known = ["port", "peerPort", "seeders", "certFile", "limitSize"];
  assert.equal(nearest("prot", known), "port");
  assert.equal(nearest("peerport", known), "peerPort");
  assert.equal(nearest("seeder", known), "seeders");
  assert.equal(nearest("limit_size", known), "limitSize");
  assert.equal(nearest("zzzz", known), undefined);
  assert.equal(nearest("x".repeat(100_000), known), undefined);
});
