/**
 * @module The rig itself, without Eagle: each engine pulls straight from the registry through the counting proxy, faults
 * do what they say, registries ask for what they should. When another e2e test fails, this one tells whose fault it is.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { content } from "../rig/blob-content.ts";
import { blobUrl, readBlob } from "../rig/blob-reader.ts";
import { CountingProxy } from "../rig/counting-proxy.ts";
import { startContainerd } from "../rig/engines/containerd.ts";
import { startDockerd } from "../rig/engines/dockerd.ts";
import type { Engine } from "../rig/engines/engine.ts";
import { createPodman } from "../rig/engines/podman.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { call } from "../rig/http-call.ts";
import { blobsOf, type Descriptor, type PushedImage, pushBlob, pushImage } from "../rig/image.ts";
import { type Registry, startRegistry } from "../rig/registry.ts";
import { Rig } from "../rig/rig.ts";
import { startTokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry"] });
const layers = [
  { size: 100_000 },
  { size: 3_000_000, kind: "text", compression: "gzip" },
  { size: 1_000_000, kind: "text" },
  { size: 2_000_000 },
  { size: 200_000 },
  { size: 5_000_000 },
] as const;

describe("the rig", { skip }, () => {
  let rig: Rig;
  let registry: Registry;
  let image: PushedImage;

  before(async () => {
    rig = await Rig.create();
    registry = await startRegistry(rig);
    image = await pushImage({ registry: registry.url, repository: "library/rig" }, { layers, seed: "rig" });
  });
  after(() => rig.close());

  const hub = "docker.io/library/rig:1";
  const own = "registry.rig:5000/library/rig:1";
  const engines: [title: string, tool: string, reference: string, start: (rig: Rig, url: URL) => Promise<Engine>][] = [
    ["dockerd, mirror", "dockerd", hub, (own, url) => startDockerd(own, { route: { kind: "mirror", url } })],
    [
      "dockerd, HTTP_PROXY",
      "dockerd",
      own,
      (own, url) => startDockerd(own, { route: { kind: "proxy", url, insecureRegistry: "registry.rig:5000" } }),
    ],
    ["containerd", "ctr", hub, (own, mirror) => startContainerd(own, { mirrors: [{ registry: "docker.io", mirror }] })],
    ["podman", "podman", hub, (own, mirror) => createPodman(own, { mirrors: [{ registry: "docker.io", mirror }] })],
    ["skopeo", "skopeo", hub, (own, mirror) => createSkopeo(own, { mirrors: [{ registry: "docker.io", mirror }] })],
  ];
  for (const [title, tool, reference, start] of engines) {
    test(`${title} pulls straight from the registry`, { skip: need({ tools: [tool], root: true }) }, async (t) => {
      const own = await Rig.for(t);
      const proxy = own.use(await CountingProxy.start(registry.url));
      const engine = await start(own, proxy.url);
      await engine.pull(reference);
      await engine.verify(reference, image);
      for (const { digest, size } of blobsOf(image)) assert.equal(proxy.blobBytes(digest), size);
    });
  }

  test("content depends on seed and kind alone", () => {
    for (const kind of ["random", "text"] as const) {
      const [one, again] = [1, 2].map(() => Buffer.concat([...content(kind, "seed", 2_500_000)]));
      assert.ok(one!.equals(again!));
      assert.equal(one!.length, 2_500_000);
    }
    assert.equal([...content("random", "seed", 0)].length, 0);
  });

  test("faults do what they say", async () => {
    const proxy = rig.use(await CountingProxy.start(registry.url));
    const blob = image.layers[5]!;
    const url = blobUrl(proxy.url, "library/rig", blob.digest);
    const read = async (headers = {}) => readBlob(url, { headers, signal: AbortSignal.timeout(1500) });
    assert.equal((await read()).digest, blob.digest);

    for (const kind of ["cut", "reset", "stall"] as const) {
      proxy.inject({ kind, at: 1_000_000 });
      const { complete, size, digest } = await read();
      assert.ok(!complete && size <= 1_000_000, `${kind} after ${size} bytes`);
      assert.notEqual(digest, blob.digest);
      assert.equal((await read()).digest, blob.digest, "once only");
      proxy.heal();
    }

    const flip = proxy.inject({ kind: "flip", at: 4_000_000 });
    assert.equal((await read({ range: "bytes=0-999999" })).status, 206);
    assert.equal(flip.hits, 0, "its byte did not come by");
    const tail = await read({ range: "bytes=3999990-" });
    assert.equal(flip.hits, 1);
    assert.equal(tail.complete, true);
    assert.notEqual(tail.digest, (await read({ range: "bytes=3999990-" })).digest);
    proxy.heal();

    proxy.inject({ kind: "status", status: 503 });
    assert.equal((await read()).status, 503);
    proxy.inject({ kind: "hole" });
    await assert.rejects(read());
    proxy.heal();

    await proxy.down();
    await assert.rejects(read(), { code: "ECONNREFUSED" });
    await proxy.up();
    assert.equal((await read()).digest, blob.digest);
  });

  test("a request that its client gave up is told from one that the proxy cut", async () => {
    const proxy = rig.use(await CountingProxy.start(registry.url));
    const url = blobUrl(proxy.url, "library/rig", image.layers[5]!.digest);
    proxy.inject({ kind: "hole" }, { times: 2 });
    await assert.rejects(readBlob(url, { signal: AbortSignal.timeout(300) }));
    const cut = assert.rejects(readBlob(url));
    await until(() => proxy.requests.length === 2, { what: "the second request to arrive" });
    proxy.redirect(registry.url);
    await cut;
    await readBlob(url);
    const [left, ...others] = proxy.requests;
    assert.ok(left!.leftMs! >= 250 && left!.leftMs! < 5000, `left after ${left!.leftMs} ms`);
    assert.equal(left!.headMs, undefined);
    assert.deepEqual(
      others.map(({ leftMs }) => leftMs),
      [undefined, undefined],
    );
  });

  test("a registry with passwords", { skip: need({ tools: ["htpasswd"] }) }, async () => {
    const { url } = await startRegistry(rig, { name: "basic", auth: { kind: "htpasswd", users: { robot: "pw" } } });
    const target = { registry: url, repository: "library/basic" };
    await assert.rejects(pushBlob(target, Buffer.from("no")), /401/);
    const authorization = `Basic ${Buffer.from("robot:pw").toString("base64")}`;
    await pushBlob({ ...target, authorization }, Buffer.from("yes"));
  });

  test("a registry with tokens", { skip: need({ tools: ["openssl"] }) }, async () => {
    const tokens = await startTokenServer(rig, { users: { alice: "pw" }, allow: (user) => (user ? ["pull"] : []) });
    const { url } = await startRegistry(rig, { name: "tokens", auth: { kind: "token", ...tokens } });
    const name = "library/tokens";
    const access = [{ type: "repository", name, actions: ["pull", "push"] }];
    const target = { registry: url, repository: name, authorization: tokens.bearer("pusher", access) };
    const blob: Descriptor = await pushBlob(target, Buffer.from("yes"));
    const refused = await call(blobUrl(url, name, blob.digest));
    assert.equal(refused.status, 401);
    assert.match(refused.headers["www-authenticate"] ?? "", /^Bearer realm=/);
    const asked = new URL(`?service=${tokens.service}&scope=repository:${name}:pull`, tokens.realm);
    for (const [user, status] of [["alice", 200] as const, [undefined, 401] as const]) {
      const basic = user && { authorization: `Basic ${Buffer.from(`${user}:pw`).toString("base64")}` };
      const { token } = JSON.parse((await call(asked, { headers: { ...basic } })).text) as { token: string };
      const answer = await call(blobUrl(url, name, blob.digest), { headers: { authorization: `Bearer ${token}` } });
      assert.equal(answer.status, status, answer.text);
    }
  });
});
