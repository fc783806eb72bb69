/**
 * Tests of upstreams.
 * @module
 */
import assert from "node:assert";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { UpstreamError, Upstreams } from "./upstreams.ts";

test("schemes: https, except loopback and plainHTTP", () => {
  const upstreams = new Upstreams({
    origin: "reg.example:5000",
    origins: [
      "127.0.0.1:5001",
      "localhost:5002",
      "[::1]:5003",
      "plain.example",
      "http://old.example",
      "https://127.0.0.1:5004",
    ],
    registries: { "plain.example": { plainHTTP: true } },
  });
  assert.strictEqual(upstreams.default?.base.href, "https://reg.example:5000/");
  const bases = [
    "127.0.0.1:5001",
    "localhost:5002",
    "[::1]:5003",
    "plain.example",
    "old.example",
    "127.0.0.1:5004",
  ].map((name) => upstreams.byName(name)?.base.origin);
  assert.deepStrictEqual(bases, [
    "http://127.0.0.1:5001",
    "http://localhost:5002",
    "http://[::1]:5003",
    "http://plain.example",
    "http://old.example",
    "https://127.0.0.1:5004",
  ]);
  assert.strictEqual(upstreams.byName("plain.example")?.plainHTTP, true);
  assert.strictEqual(upstreams.byName("127.0.0.1:5001")?.plainHTTP, false);
  assert.strictEqual(upstreams.list().length, 7);
});

test("Docker Hub by all its names", () => {
  for (const origin of ["docker.io", "https://registry-1.docker.io", "index.docker.io"]) {
    const upstreams = new Upstreams({ origin });
    assert.strictEqual(upstreams.default?.name, "docker.io");
    assert.strictEqual(upstreams.default.base.href, "https://registry-1.docker.io/");
    assert.strictEqual(upstreams.byName("index.docker.io"), upstreams.default);
    assert.strictEqual(upstreams.byUrl(new URL("https://registry-1.docker.io/v2/x")), upstreams.default);
    assert.strictEqual(upstreams.byUrl(new URL("http://registry-1.docker.io/v2/x")), undefined);
  }
});

test("a registry behind another address is found by both", () => {
  const upstreams = new Upstreams({ registries: { "docker.io": { upstream: "127.0.0.1:5000" } } });
  const hub = upstreams.byName("docker.io");
  assert.strictEqual(hub?.base.href, "http://127.0.0.1:5000/");
  assert.strictEqual(upstreams.byUrl(new URL("https://docker.io/v2/")), hub);
  assert.strictEqual(upstreams.byUrl(new URL("http://127.0.0.1:5000/v2/")), hub);
  assert.strictEqual(upstreams.default, undefined);
});

test("only what is listed is found", () => {
  const upstreams = new Upstreams({ origin: "reg.example" });
  for (const url of [
    "http://reg.example/",
    "https://reg.example:444/",
    "https://reg.example.evil/",
    "https://evil@reg.example/",
    "https://a:b@reg.example/",
    "ftp://reg.example/",
    "https://127.0.0.1/",
  ]) {
    assert.strictEqual(upstreams.byUrl(new URL(url)), undefined, url);
  }
  assert.strictEqual(upstreams.byUrl(new URL("https://REG.example:443/v2/")), upstreams.default);
  assert.strictEqual(upstreams.byName("REG.example:443"), upstreams.default);
  for (const ns of ["", "__proto__", "constructor", "reg.example/", "reg.example.", "docker.io"]) {
    assert.strictEqual(upstreams.byName(ns), undefined, ns);
  }
});

test("credentials and CA, from text and files", async () => {
  const directory = await mkdtemp(join(tmpdir(), "eagle-upstreams-"));
  try {
    await writeFile(join(directory, "password"), "s3cret \n");
    await writeFile(join(directory, "ca.pem"), "-----BEGIN CERTIFICATE-----\n");
    const upstreams = new Upstreams({
      origin: "reg.example",
      registries: {
        "reg.example": { username: "u", passwordFile: join(directory, "password"), ca: join(directory, "ca.pem") },
        "b.example": { username: "u", password: "p", ca: "-----BEGIN CERTIFICATE-----\nx" },
      },
    });
    assert.deepStrictEqual(upstreams.default?.credentials, { username: "u", password: "s3cret " });
    assert.strictEqual(upstreams.default?.ca, "-----BEGIN CERTIFICATE-----\n");
    assert.strictEqual(upstreams.byName("b.example")?.ca, "-----BEGIN CERTIFICATE-----\nx");
    assert.throws(
      () => new Upstreams({ registries: { a: { username: "u", passwordFile: join(directory, "none") } } }),
      (error) =>
        error instanceof UpstreamError && error.code === "unreadable" && error.message.includes("registries.a"),
    );
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("impossible entries are refused by name", () => {
  const wrong: [ConstructorParameters<typeof Upstreams>[0], RegExp][] = [
    [{ origin: "" }, /origin/],
    [{ origin: "https://reg.example/path" }, /origin.*path/],
    [{ origin: "ftp://reg.example" }, /origin/],
    [{ origin: "https://u:p@reg.example" }, /origin.*credentials/],
    [{ origins: ["ok.example", "no spaces"] }, /origins\[1\]/],
    [{ origins: ["http://a.example", "https://a.example"] }, /http and with https/],
    [{ registries: { "a.example": { upstream: "https://b/c" } } }, /registries\.a\.example\.upstream/],
    [{ registries: { "a.example": { username: "u" } } }, /password/],
    [{ registries: { "a.example": { password: "p" } } }, /username/],
    [{ registries: { "a.example": { username: "u:v", password: "p" } } }, /colon/],
    [{ registries: { "a.example": { username: "u", password: "p", passwordFile: "f" } } }, /not both/],
    [{ registries: { "docker.io": {}, "index.docker.io": {} } }, /twice/],
  ];
  for (const [init, message] of wrong) {
    assert.throws(
      () => new Upstreams(init),
      (error) => error instanceof UpstreamError && message.test(error.message),
    );
  }
});

test("_default: settings of those without an entry, and more that are allowed", () => {
  const upstreams = new Upstreams({
    origins: ["listed.example", "http://plain.example"],
    registries: {
      _default: {
        upstream: "https://{host}:8443",
        mirrors: ["mirror.example/all"],
        dockerConfig: "/nowhere/config.json",
      },
      "own.example": { upstream: "elsewhere.example" },
    },
  });
  assert.strictEqual(upstreams.byName("listed.example")?.base.href, "https://listed.example:8443/");
  assert.strictEqual(upstreams.byName("plain.example")?.base.href, "http://plain.example/", "a URL says where it is");
  const own = upstreams.byName("own.example");
  assert.deepStrictEqual([own?.base.host, own?.mirrors, own?.credentials], ["elsewhere.example", undefined, undefined]);
  const other = upstreams.byName("quay.example");
  assert.strictEqual(other?.base.href, "https://quay.example:8443/");
  assert.strictEqual(other.mirrors?.[0]?.prefix, "all/");
  assert.strictEqual(typeof other.credentials, "function");
  assert.strictEqual(upstreams.byName("QUAY.example:443"), other, "found again");
  assert.strictEqual(upstreams.byUrl(new URL("https://quay.example/v2/")), other);
  assert.strictEqual(upstreams.byUrl(new URL("http://quay.example/v2/")), undefined);
  assert.strictEqual(upstreams.byUrl(new URL("https://own.example/v2/")), own);
  assert.ok(!upstreams.list().includes(other));
  for (const name of [
    "127.0.0.1:5000",
    "localhost",
    "registry",
    "[::1]:80",
    "169.254.169.254",
    "a.localhost",
    "x y.example",
    "_default",
    "",
  ])
    assert.strictEqual(upstreams.byName(name), undefined, name);
});

test("_default.allow: names, patterns, and what has to be written out", () => {
  const upstreams = new Upstreams({
    registries: { _default: { allow: ["quay.io", "*.corp.example", "127.0.0.1:5000"] } },
  });
  for (const name of ["quay.io", "a.corp.example", "a.b.corp.example:5000", "127.0.0.1:5000"])
    assert.ok(upstreams.byName(name), name);
  for (const name of ["ghcr.io", "corp.example", "evilcorp.example", "127.0.0.1:5001", "quay.io.evil.example"])
    assert.strictEqual(upstreams.byName(name), undefined, name);
  assert.strictEqual(new Upstreams({ registries: {} }).byName("quay.io"), undefined);
});

test("what _default must not say, and mirrors that make no sense", () => {
  const wrong: [ConstructorParameters<typeof Upstreams>[0], RegExp][] = [
    [{ registries: { _default: { username: "u", password: "p" } } }, /_default.*dockerConfig/],
    [{ registries: { _default: { upstream: "one.example" } } }, /_default\.upstream.*\{host\}/],
    [{ registries: { _default: { allow: ["a/b"] } } }, /_default\.allow/],
    [{ registries: { "a.example": { mirrors: ["m.example/Upper"] } } }, /a\.example\.mirrors\[0\]/],
    [{ registries: { "a.example": { mirrors: ["ftp://m.example"] } } }, /a\.example\.mirrors\[0\]/],
  ];
  for (const [init, message] of wrong) {
    assert.throws(
      () => new Upstreams(init),
      (error) => error instanceof UpstreamError && message.test(error.message),
    );
  }
});
