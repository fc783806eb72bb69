/** @module Certificates are what other implementations take them for. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, createServer } from "node:tls";
import { partCertificate } from "../cluster/testing/certificates.ts";
import { AuthorityError, createAuthority, Issuer } from "./certificate.ts";
import { DerError, integer, oid, read, sequence, time } from "./der.ts";
import { LeafContexts } from "./leaf-contexts.ts";

const hasOpenssl = (() => {
  try {
    execFileSync("openssl", ["version"]);
    return true;
  } catch {
    return false;
  }
})();

test("an authority, and a certificate that it signed", () => {
  const authority = createAuthority({ name: "Test CA", days: 10, now: Date.UTC(2026, 0, 1) });
  const ca = new X509Certificate(authority.cert);
  assert.ok(ca.ca && ca.verify(ca.publicKey) && ca.checkPrivateKey(createPrivateKey(authority.key)));
  assert.equal(ca.subject, "CN=Test CA");
  assert.equal(Date.parse(ca.validTo), Date.UTC(2026, 0, 11));

  const issuer = new Issuer(authority);
  for (const host of ["registry.example.com", "127.0.0.1", "2001:db8::1", "::1", `${"a".repeat(60)}.example.com`]) {
    const { cert, key } = issuer.issue(host);
    const leaf = new X509Certificate(cert);
    assert.ok(leaf.verify(ca.publicKey) && leaf.checkIssued(ca) && !leaf.ca, host);
    assert.ok(leaf.checkPrivateKey(createPrivateKey(key)));
    assert.ok(host.includes(":") || /^\d/.test(host) ? leaf.checkIP(host) : leaf.checkHost(host), leaf.subjectAltName);
    assert.equal(leaf.checkHost("other.example.com"), undefined);
  }
  assert.notEqual(
    new X509Certificate(issuer.issue("a").cert).serialNumber,
    new X509Certificate(issuer.issue("a").cert).serialNumber,
  );
});

test("an authority with an RSA or Ed25519 key signs, too", { skip: !hasOpenssl && "openssl is not installed" }, () => {
  const dir = mkdtempSync(join(tmpdir(), "eagle-ca-"));
  try {
    for (const kind of [["rsa:2048"], ["ed25519"]]) {
      const [key, cert] = [join(dir, "ca.key"), join(dir, "ca.crt")];
      execFileSync(
        "openssl",
        [
          "req",
          "-x509",
          "-nodes",
          "-newkey",
          ...kind,
          "-subj",
          "/O=Some Org/CN=Corporate",
          "-addext",
          "keyUsage=critical,keyCertSign",
          "-keyout",
          key,
          "-out",
          cert,
        ],
        { stdio: "ignore" },
      );
      const pem = (file: string) => execFileSync("cat", [file], { encoding: "utf8" });
      const issuer = new Issuer({ cert: pem(cert), key: pem(key) });
      const leaf = join(dir, "leaf.crt");
      writeFileSync(leaf, issuer.issue("registry.example.com").cert);
      const check = ["verify", "-x509_strict", "-CAfile", cert, "-verify_hostname", "registry.example.com", leaf];
      assert.match(execFileSync("openssl", check, { encoding: "utf8" }), /: OK/, String(kind));
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("an authority bound to hosts signs in vain for others", {
  skip: !hasOpenssl && "openssl is not installed",
}, () => {
  const dir = mkdtempSync(join(tmpdir(), "eagle-ca-"));
  try {
    const verify = (hosts: string[], host: string): boolean => {
      const authority = createAuthority({ name: "Bound", hosts });
      writeFileSync(join(dir, "ca.crt"), authority.cert);
      writeFileSync(join(dir, "leaf.crt"), new Issuer(authority).issue(host).cert);
      try {
        execFileSync("openssl", ["verify", "-x509_strict", "-CAfile", join(dir, "ca.crt"), join(dir, "leaf.crt")], {
          stdio: "pipe",
        });
        return true;
      } catch {
        return false;
      }
    };
    const names = ["registry.example.com", "docker.io"];
    assert.deepEqual(
      ["registry.example.com", "registry-1.docker.io", "bank.example", "127.0.0.1", "::1"].map((host) =>
        verify(names, host),
      ),
      [true, true, false, false, false],
    );
    assert.deepEqual(
      ["127.0.0.1", "127.0.0.2", "::1", "bank.example"].map((host) => verify(["127.0.0.1"], host)),
      [true, false, false, false],
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("what cannot sign is refused", () => {
  const authority = createAuthority({ name: "CA" });
  assert.throws(() => new Issuer(partCertificate), AuthorityError);
  assert.throws(() => new Issuer({ ...authority, key: partCertificate.key }), /another certificate/);
  assert.throws(() => new Issuer({ ...authority, cert: "nothing" }), AuthorityError);
  assert.throws(() => createAuthority({ name: "" }), AuthorityError);
});

test("a TLS client that trusts the authority reaches the host it asked for", async () => {
  const authority = createAuthority({ name: "CA" });
  const contexts = new LeafContexts(new Issuer(authority));
  const server = createServer({ SNICallback: (name, done) => done(null, contexts.get(name)) }, (socket) =>
    socket.end("hi"),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const reach = (ca: string, servername: string) =>
    new Promise<string>((resolve) => {
      const socket = connect({ port, host: "127.0.0.1", ca, servername });
      socket.once("error", (error) => resolve(error.message));
      socket.once("data", (data) => {
        resolve(data.toString());
        socket.destroy();
      });
    });
  try {
    assert.equal(await reach(authority.cert, "registry.example.com"), "hi");
    assert.notEqual(await reach(createAuthority({ name: "CA" }).cert, "registry.example.com"), "hi");
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test("a context is made once a host, and again before its certificate ends", () => {
  let now = Date.UTC(2026, 0, 1);
  const contexts = new LeafContexts(new Issuer(createAuthority({ name: "CA", now })), { now: () => now });
  const first = contexts.get("a.example");
  now += 19 * 86_400_000;
  assert.equal(contexts.get("a.example"), first);
  now += 2 * 86_400_000;
  const second = contexts.get("a.example");
  assert.notEqual(second, first);
  now -= 10 * 86_400_000;
  assert.notEqual(contexts.get("a.example"), second);
});

test("DER: borders", () => {
  assert.deepEqual([...integer(Uint8Array.of(0, 0, 128))], [2, 2, 0, 128]);
  assert.deepEqual([...oid("1.2.840.10045.4.3.2")], [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
  assert.equal(Buffer.from(time(new Date(Date.UTC(2049, 11, 31)))).toString("latin1", 2), "491231000000Z");
  assert.equal(Buffer.from(time(new Date(Date.UTC(2050, 0, 1)))).toString("latin1", 2), "20500101000000Z");
  const long = sequence(new Uint8Array(300));
  assert.deepEqual([...long.subarray(0, 4)], [0x30, 0x82, 1, 44]);
  assert.equal(read(long)[0]?.content.length, 300);
  for (const bad of [[0x30], [0x30, 0x80], [0x30, 5, 0], [0x30, 0x85, 0, 0, 0, 0, 0]]) {
    assert.throws(() => read(Uint8Array.from(bad)), DerError);
  }
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  assert.equal(read(publicKey.export({ type: "spki", format: "der" })).length, 1);
});
