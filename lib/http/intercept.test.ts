/**
 * @module
 * Tests of intercepted CONNECTs: requests inside reach the fetch handler in absolute form, over connections that live
 * and end like any others.
 */
import assert from "node:assert/strict";
import http from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { test } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { createAuthority, Issuer } from "../tls/certificate.ts";
import { LeafContexts } from "../tls/leaf-contexts.ts";
import { type RequestEnv, type ServeOptions, serve } from "./server.ts";
import { testCertificate } from "./test-certificate.ts";
import { createTunnelHandler } from "./tunnel.ts";

const authority = createAuthority({ name: "CA" });
const contexts = new LeafContexts(new Issuer(authority));

interface Seen {
  url: string;
  env: RequestEnv;
}

async function listener(options: Partial<ServeOptions> = {}) {
  const seen: Seen[] = [];
  const served = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: async (request, env) => {
      seen.push({ url: request.url, env });
      return new Response(`${request.method} ${await request.text()}`);
    },
    intercept: ({ host }) => (host === "plain.example" ? undefined : contexts.get(host)),
    ...options,
  });
  return Object.assign(served, { seen });
}

/** The connection behind a CONNECT, in clear. */
async function connected(port: number, target: string, { secure = false, early = "" } = {}): Promise<Socket> {
  const socket = secure
    ? connectTls({ port, host: "127.0.0.1", ca: testCertificate.cert })
    : connectTcp(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n${early}`);
  const [head] = await new Promise<Buffer[]>((resolve) => socket.once("data", (data: Buffer) => resolve([data])));
  assert.match(String(head), /^HTTP\/1\.1 200 /);
  return socket;
}

async function secured(port: number, target: string, { secure = false, ca = authority.cert } = {}): Promise<TLSSocket> {
  const socket = await connected(port, target, { secure });
  const servername = target.replace(/:\d+$/, "");
  const tls = connectTls({ socket, ca, ...(/^[\d[]/.test(servername) ? { host: "127.0.0.1" } : { servername }) });
  await new Promise<void>((resolve, reject) => {
    tls.once("secureConnect", resolve);
    tls.once("error", reject);
  });
  return tls;
}

const agents = new WeakMap<TLSSocket, http.Agent>();

/** One request after the other on one connection. */
async function ask(tls: TLSSocket, path: string, init: http.RequestOptions & { body?: string } = {}) {
  const agent = agents.get(tls) ?? new http.Agent({ keepAlive: true, maxSockets: 1 });
  agents.set(tls, agent);
  agent.createConnection = () => tls;
  return await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = http.request({ path, agent, host: "elsewhere.example", ...init }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.once("error", reject);
    request.end(init.body);
  });
}

test("requests inside are served with the target of the CONNECT, whatever Host says", async () => {
  await using server = await listener();
  const tls = await secured(server.port, "registry.example.com:443");
  assert.deepEqual(await ask(tls, "/v2/a?b=%2F"), { status: 200, text: "GET " });
  assert.deepEqual(await ask(tls, "/v2/up", { method: "POST", body: "x".repeat(100_000) }), {
    status: 200,
    text: `POST ${"x".repeat(100_000)}`,
  });
  const [first, second] = server.seen;
  assert.equal(first?.env.target, "https://registry.example.com:443/v2/a?b=%2F");
  assert.equal(first?.url, "https://registry.example.com/v2/a?b=%2F");
  assert.deepEqual([first.env.remoteAddress, first.env.secure], ["127.0.0.1", true]);
  assert.equal(first.env.remotePort, second?.env.remotePort, "one connection");
  tls.destroy();
});

test("addresses and other ports", async () => {
  await using server = await listener();
  const tls = await secured(server.port, "127.0.0.1:5000");
  await ask(tls, "/");
  assert.equal(server.seen[0]?.env.target, "https://127.0.0.1:5000/");
  tls.destroy();
});

test("a target inside that names another place is refused", async () => {
  await using server = await listener();
  const tls = await secured(server.port, "registry.example.com:443");
  tls.write("GET https://evil.example/ HTTP/1.1\r\nhost: registry.example.com\r\nconnection: close\r\n\r\n");
  const text = await new Promise<string>((resolve) => tls.once("data", (data) => resolve(String(data))));
  assert.match(text, /^HTTP\/1\.1 400 /);
  assert.equal(server.seen.length, 0);
  tls.destroy();
});

test("a client that does not trust the authority is gone, and nothing else happens", async () => {
  await using server = await listener();
  await assert.rejects(
    secured(server.port, "registry.example.com:443", { ca: createAuthority({ name: "Other" }).cert }),
  );
  const raw = await connected(server.port, "registry.example.com:443");
  raw.write("this is no TLS\r\n\r\n");
  await new Promise((resolve) => raw.once("close", resolve));
  const tls = await secured(server.port, "registry.example.com:443");
  assert.equal((await ask(tls, "/")).status, 200);
  tls.destroy();
});

test("a client that never begins TLS is cut", async () => {
  await using server = await listener({ headersTimeoutMs: 50 });
  const raw = await connected(server.port, "registry.example.com:443");
  await new Promise((resolve) => raw.once("close", resolve));
});

test("targets that are not intercepted go to the tunnel", async () => {
  await using target = await listener();
  await using server = await listener({
    tunnel: createTunnelHandler({ allow: (_host, _port, { remoteAddress }) => remoteAddress === "127.0.0.2" }),
  });
  const socket = connectTcp(server.port, "127.0.0.1");
  socket.write(`CONNECT plain.example:${target.port} HTTP/1.1\r\n\r\n`);
  const answer = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))));
  assert.match(answer, /^HTTP\/1\.1 403 /);
  socket.destroy();
});

test("inside a listener that speaks TLS itself", async () => {
  await using server = await listener({ tls: testCertificate });
  const tls = await secured(server.port, "registry.example.com:443", { secure: true });
  assert.equal((await ask(tls, "/v2/")).status, 200);
  tls.destroy();
});

test("closing ends idle connections at once and lets answers finish", async () => {
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const server = await listener({
    fetch: async () => {
      onAsked();
      await released;
      return new Response("done");
    },
  });
  const idle = await secured(server.port, "a.example:443");
  const busy = await secured(server.port, "b.example:443");
  const gone = new Promise((resolve) => idle.once("close", resolve));
  idle.resume();
  const answer = ask(busy, "/");
  await asked;
  const closed = server.close({ graceMs: 60_000 });
  await gone;
  release();
  assert.equal((await answer).text, "done");
  await closed;
});
