/**
 * @module A registry that speaks TLS with a certificate of a private authority, pulled from by engines that have Eagle as
 * their HTTPS proxy. Not intercepted, the connection goes through unread; intercepted, the blobs come peer to peer.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { createAuthority } from "../../lib/tls/certificate.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { startContainerd } from "../rig/engines/containerd.ts";
import { startDockerd } from "../rig/engines/dockerd.ts";
import type { Engine, ProxyRoute } from "../rig/engines/engine.ts";
import { createPodman } from "../rig/engines/podman.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { blobsOf, type PushedImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { startTlsFront } from "../rig/tls-front.ts";
import { need } from "../rig/tools.ts";

const MB = 1_000_000;
const layers = [{ size: 300_000 }, { size: 2 * MB, kind: "text", compression: "gzip" }, { size: 9 * MB }] as const;

const engines: [title: string, tools: string[], start: (rig: Rig, proxy: ProxyRoute) => Promise<Engine>][] = [
  ["dockerd", ["dockerd"], (rig, proxy) => startDockerd(rig, { route: { kind: "proxy", ...proxy } })],
  ["containerd", ["containerd", "ctr"], (rig, proxy) => startContainerd(rig, { proxy })],
  ["podman", ["podman"], (rig, proxy) => createPodman(rig, { proxy })],
  ["skopeo", ["skopeo"], (rig, proxy) => createSkopeo(rig, { proxy })],
];

describe("a TLS registry", { skip: need({ tools: ["docker-registry", "unshare", "mount"], root: true }) }, () => {
  let rig: Rig;
  let cluster: Cluster;
  let image: PushedImage;
  let registryName: string;
  let registryCa: string;
  let eagleCa: string;
  let tunnelling: EagleApp;
  let intercepting: EagleApp;
  let another: EagleApp;

  before(async () => {
    rig = await Rig.create();
    const [registryAuthority, interception] = [
      createAuthority({ name: "Registry CA" }),
      createAuthority({ name: "Eagle CA" }),
    ];
    registryCa = rig.path("registry-ca.crt");
    eagleCa = rig.path("eagle-ca.crt");
    const eagleKey = rig.path("eagle-ca.key");
    await writeFile(registryCa, registryAuthority.cert);
    await writeFile(eagleCa, interception.cert);
    await writeFile(eagleKey, interception.key);

    cluster = await startCluster(rig, { seeders: 0, proxies: 0 });
    const front = rig.use(await startTlsFront(cluster.origin.url, registryAuthority));
    registryName = `registry.rig:${front.port}`;
    const member = {
      origin: undefined,
      origins: [registryName],
      registries: { [registryName]: { upstream: `https://127.0.0.1:${front.port}`, ca: registryCa } },
    };
    await cluster.addSeeder(member as object);
    // A tunnel leads to the name that the engine asks for, which only this proxy's own /etc/hosts knows.
    const hosts = rig.path("hosts");
    await writeFile(hosts, "127.0.0.1 localhost registry.rig\n");
    tunnelling = await cluster.addProxy({
      ...(member as object),
      within: ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts],
      config: { proxyCfg: { connectPorts: [front.port] } },
    });
    const config = {
      proxyCfg: { intercept: [registryName], interceptCertFile: eagleCa, interceptKeyFile: eagleKey },
    };
    intercepting = await cluster.addProxy({ ...(member as object), config });
    another = await cluster.addProxy({ ...(member as object), config });
    image = await cluster.pushImage("library/app", layers);
  });
  after(() => rig.close());

  const reference = () => `${registryName}/library/app:1`;
  const fromPeers = async (app: EagleApp) =>
    (await app.bytes({ source: "peer", direction: "in" })) + (await app.bytes({ source: "seeder", direction: "in" }));

  for (const [title, tools, start] of engines) {
    const skip = need({ tools, root: true });

    test(`${title} through a tunnel: the registry's own certificate, nothing peer to peer`, { skip }, async (t) => {
      const own = await Rig.for(t);
      const before = cluster.origin.blobBytes();
      const engine = await start(own, { url: tunnelling.url, caFile: registryCa });
      await engine.pull(reference());
      await engine.verify(reference(), image);
      assert.equal(await tunnelling.bytes({ direction: "in" }), 0);
      const size = blobsOf(image).reduce((sum, blob) => sum + blob.size, 0);
      assert.ok(cluster.origin.blobBytes() - before >= size, "each blob came from the registry");
    });

    test(`${title} intercepted: peer to peer`, { skip }, async (t) => {
      const own = await Rig.for(t);
      const engine = await start(own, { url: intercepting.url, caFile: eagleCa });
      await engine.pull(reference());
      await engine.verify(reference(), image);
      assert.ok((await fromPeers(intercepting)) >= 9 * MB, "the blobs came from the seeder");
    });

    test(`${title} intercepted, but without trust in Eagle's authority: refused`, { skip }, async (t) => {
      const own = await Rig.for(t);
      const engine = await start(own, { url: intercepting.url, caFile: registryCa });
      await assert.rejects(engine.pull(reference()), /certificate|x509/i);
    });
  }

  test("a second host takes nothing from the registry", { skip: need({ tools: ["skopeo"] }) }, async () => {
    // Whatever engine is on this machine, the first host has the image after this.
    const first = await createSkopeo(rig, { name: "first", proxy: { url: intercepting.url, caFile: eagleCa } });
    await first.pull(reference());
    const before = cluster.origin.blobBytes();
    const second = await createSkopeo(rig, { name: "second", proxy: { url: another.url, caFile: eagleCa } });
    await second.pull(reference());
    await second.verify(reference(), image);
    assert.equal(cluster.origin.blobBytes(), before);
    assert.ok((await fromPeers(another)) >= 9 * MB);
  });

  test("the interception is told of in the log, its key is not", () => {
    const { output } = intercepting.process;
    if (engines.some(([, tools]) => need({ tools, root: true }) === false)) {
      assert.match(output, /does it trust the certificate authority/);
    }
    assert.doesNotMatch(output, /PRIVATE KEY/);
  });
});
