/**
 * @module Real engines pull a real image through Eagle, byte by byte the same; a second host then pulls without the
 * origin.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Cluster, registryName, startCluster } from "../rig/cluster.ts";
import { startContainerd } from "../rig/engines/containerd.ts";
import { startDockerd } from "../rig/engines/dockerd.ts";
import type { Engine } from "../rig/engines/engine.ts";
import { createPodman } from "../rig/engines/podman.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { blobsOf, type PushedImage, pushImage } from "../rig/image.ts";
import { type Registry, startRegistry } from "../rig/registry.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const MB = 1_000_000;

/** Seven layers, 1 MB to 300 MB, random and compressible, plain and gzip. */
const layers = [
  { size: 1 * MB },
  { size: 5 * MB, kind: "text", compression: "gzip" },
  { size: 4 * MB, kind: "text" },
  { size: 12 * MB },
  { size: 30 * MB, kind: "text" },
  { size: 60 * MB },
  { size: 300 * MB },
] as const;

interface EngineCase {
  title: string;
  tools: string[];
  reference: string;
  start(rig: Rig, mirror: URL): Promise<Engine>;
}

const hubReference = "docker.io/library/app:1";
const ownReference = `${registryName}/library/app:1`;

const cases: EngineCase[] = [
  {
    title: "dockerd with registry-mirrors",
    tools: ["dockerd"],
    reference: hubReference,
    start: (rig, url) => startDockerd(rig, { route: { kind: "mirror", url } }),
  },
  {
    title: "dockerd with HTTP_PROXY and an insecure registry",
    tools: ["dockerd"],
    reference: ownReference,
    start: (rig, url) => startDockerd(rig, { route: { kind: "proxy", url, insecureRegistry: registryName } }),
  },
  {
    title: "containerd with hosts.toml, ns=docker.io",
    tools: ["containerd", "ctr"],
    reference: hubReference,
    start: (rig, mirror) => startContainerd(rig, { mirrors: [{ registry: "docker.io", mirror }] }),
  },
  {
    title: `containerd with hosts.toml, ns=${registryName}`,
    tools: ["containerd", "ctr"],
    reference: ownReference,
    start: (rig, mirror) => startContainerd(rig, { mirrors: [{ registry: registryName, mirror }] }),
  },
  {
    title: "podman with a mirror",
    tools: ["podman"],
    reference: hubReference,
    start: (rig, mirror) => createPodman(rig, { mirrors: [{ registry: "docker.io", mirror }] }),
  },
  {
    title: "skopeo with a mirror",
    tools: ["skopeo"],
    reference: hubReference,
    start: (rig, mirror) => createSkopeo(rig, { mirrors: [{ registry: "docker.io", mirror }] }),
  },
];

const skip = need({ tools: ["docker-registry"], root: true });

describe("engines pull through Eagle", { skip }, () => {
  let originRig: Rig;
  let registry: Registry;
  let image: PushedImage;

  before(async () => {
    originRig = await Rig.create();
    registry = await startRegistry(originRig);
    image = await pushImage({ registry: registry.url, repository: "library/app" }, { layers, seed: "engines" });
  });
  after(() => originRig.close());

  for (const { title, tools, reference, start } of cases) {
    test(title, { skip: need({ tools: [...tools, "skopeo"], root: true }) }, async (t) => {
      const rig = await Rig.for(t);
      const cluster = await startCluster(rig, { registry, proxies: 2 });
      const engine = await start(rig, cluster.proxy(0).url);
      await engine.pull(reference);
      await engine.verify(reference, image);
      assertReadOnce(cluster, image);
      const cold = cluster.origin.blobBytes();

      const second = await createSkopeo(rig, {
        name: "second-host",
        mirrors: [{ registry: "docker.io", mirror: cluster.proxy(1).url }],
      });
      await second.pull(hubReference);
      await second.verify(hubReference, image);
      assert.equal(cluster.origin.blobBytes(), cold, "the second host took no blob byte from the origin");
    });
  }
});

/** Every blob was read from the origin once: up to 2 % more may have been on the way when a range was let go. */
function assertReadOnce(cluster: Cluster, image: PushedImage): void {
  for (const { digest, size } of blobsOf(image)) {
    const bytes = cluster.origin.blobBytes(digest);
    const reads = JSON.stringify(cluster.origin.blobReads(digest), undefined, 1);
    assert.ok(bytes >= size && bytes <= size * 1.02, `${digest} (${size} bytes): ${bytes} from the origin by ${reads}`);
  }
}
