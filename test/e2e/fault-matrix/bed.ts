/**
 * @module The cluster of the fault matrix: each kind of connection has its own proxy and its own place where things go
 * wrong, and all clients meet whichever proxy a cell is about behind one address.
 *
 *     clients -> front -> `direct`     -> origin            (proxy-origin)
 *                      -> `seeded`     -> seeder -> origin  (seeder-metainfo, seeder-pieces; seeder-origin)
 *                      -> `neighbour`  -> peer   -> origin  (proxy-peer; the origin, should the peer fail)
 */
import { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import { ClusterHttp } from "../../../lib/cluster/cluster-http.ts";
import { HttpClient } from "../../../lib/http/client.ts";
import { TrackerClient } from "../../../lib/tracker/client.ts";
import { swarmKey } from "../../../lib/tracker/keys.ts";
import { CountingProxy } from "../../rig/counting-proxy.ts";
import { type EagleApp, type MemberOptions, startProxy, startSeeder, startTracker } from "../../rig/eagle.ts";
import { startContainerd } from "../../rig/engines/containerd.ts";
import { createCurl } from "../../rig/engines/curl.ts";
import { startDockerd } from "../../rig/engines/dockerd.ts";
import type { Engine } from "../../rig/engines/engine.ts";
import { createPodman } from "../../rig/engines/podman.ts";
import { pullBlob } from "../../rig/expect-blob.ts";
import { blobsOf, type PushedImage, pushImage } from "../../rig/image.ts";
import { freePort } from "../../rig/ports.ts";
import { type Registry, startRegistry } from "../../rig/registry.ts";
import type { Rig } from "../../rig/rig.ts";
import { until } from "../../rig/until.ts";
import type { Cell } from "./cells.ts";

const secret = "a secret of the peers, for a test";
/** Where the peer is said to be, so that something can go wrong on the way to it. */
const PEER_HOST = "127.0.0.2";

/** See the module. The rig ends all of it. */
export class Bed {
  readonly origin: CountingProxy;
  readonly front: CountingProxy;
  readonly #registry: Registry;
  readonly #seederLink: CountingProxy;
  readonly #peerLink: CountingProxy;
  /** Asks the tracker as a part of the peers' cluster. */
  readonly #asker: TrackerClient;
  readonly #proxies: Readonly<Record<"direct" | "seeded" | "neighbour" | "peer", EagleApp>>;
  readonly #engines = new Map<Cell["client"], Engine>();
  readonly #rig: Rig;

  private constructor(
    rig: Rig,
    parts: {
      registry: Registry;
      origin: CountingProxy;
      front: CountingProxy;
      seederLink: CountingProxy;
      peerLink: CountingProxy;
      asker: TrackerClient;
      proxies: Record<"direct" | "seeded" | "neighbour" | "peer", EagleApp>;
    },
  ) {
    this.#rig = rig;
    this.#registry = parts.registry;
    this.origin = parts.origin;
    this.front = parts.front;
    this.#seederLink = parts.seederLink;
    this.#peerLink = parts.peerLink;
    this.#asker = parts.asker;
    this.#proxies = parts.proxies;
  }

  static async start(rig: Rig): Promise<Bed> {
    const registry = await startRegistry(rig);
    const origin = rig.use(await CountingProxy.start(registry.url));
    const common = {
      origin: "docker.io",
      registries: { "docker.io": { upstream: origin.url.origin, plainHTTP: true } },
    };
    const seeder = await startSeeder(rig, {
      ...common,
      trackers: [],
      config: { seederCfg: { bittorrent: false } },
    });
    const proxy = (name: string, init: Partial<MemberOptions> & { seeders?: readonly URL[] } = {}) => {
      const config = { ...init.config, clientCfg: { bittorrent: false, ...init.config?.clientCfg } };
      return startProxy(rig, { ...common, trackers: [], seeders: [], ...init, name, config });
    };
    const seederLink = rig.use(await CountingProxy.start(seeder.url));
    const cluster = { secret };
    const tracker = await startTracker(rig, { config: { cluster } });
    const peerPort = await freePort();
    const peers = { trackers: [tracker.url], config: { cluster } };
    const proxies = {
      direct: await proxy("direct"),
      seeded: await proxy("seeded", { seeders: [seederLink.url] }),
      neighbour: await proxy("neighbour", peers),
      peer: await proxy("peer", { ...peers, config: { cluster, clientCfg: { advertise: PEER_HOST, peerPort } } }),
    };
    const peerLink = rig.use(
      await CountingProxy.start(new URL(`http://127.0.0.1:${peerPort}`), { host: PEER_HOST, port: peerPort }),
    );
    const asker = rig.use(
      new TrackerClient({
        trackers: peers.trackers.map((url) => [url]),
        peerId: Buffer.from("-EG0000-fault-matrix"),
        port: 1,
        isClosed: true,
        http: new ClusterHttp(rig.use(new HttpClient()), new ClusterAuth({ secret })),
      }),
    );
    const front = rig.use(await CountingProxy.start(proxies.direct.url));
    return new Bed(rig, { registry, origin, front, seederLink, peerLink, asker, proxies });
  }

  /** An image of one layer at the origin. */
  push(repository: string, size: number): Promise<PushedImage> {
    const target = { registry: this.#registry.url, repository };
    return pushImage(target, { layers: [{ size }], seed: repository });
  }

  /** The client of a cell, started when the first cell needs it. */
  async client({ client }: Pick<Cell, "client">): Promise<Engine> {
    const known = this.#engines.get(client);
    if (known) return known;
    const url = this.front.url;
    const mirrors = [{ registry: "docker.io", mirror: url }];
    const starts: Record<Cell["client"], () => Promise<Engine>> = {
      dockerd: () => startDockerd(this.#rig, { route: { kind: "mirror", url } }),
      containerd: () => startContainerd(this.#rig, { mirrors }),
      podman: () => createPodman(this.#rig, { mirrors }),
      curl: () => createCurl(this.#rig, { mirror: url }),
    };
    const started = await starts[client]();
    this.#engines.set(client, started);
    return started;
  }

  /** Makes a proxy ready that remembers nothing of earlier cells, and lets the client of the cell meet it. */
  async prepare({ link }: Cell, image: PushedImage): Promise<void> {
    const proxy = this.#proxies[link === "proxy-origin" ? "direct" : link === "proxy-peer" ? "neighbour" : "seeded"];
    if (link === "proxy-peer") await this.#giveToPeer(image);
    await proxy.stop();
    await proxy.start();
    this.front.redirect(proxy.url);
  }

  /** Where the cell's fault is put, and which requests it may hit. */
  place({ link }: Cell): { at: CountingProxy; method?: string; match?: RegExp } {
    switch (link) {
      case "proxy-origin":
      case "seeder-origin":
        return { at: this.origin };
      case "seeder-metainfo":
        return { at: this.#seederLink };
      case "seeder-pieces":
        return { at: this.#seederLink, method: "POST", match: /\/next$/ };
      case "proxy-peer":
        return { at: this.#peerLink, match: /\/p2p\/v1\/blobs\/[^/]+$/ };
    }
  }

  heal(): void {
    for (const link of [this.origin, this.#seederLink, this.#peerLink]) link.heal();
  }

  /** The peer has the image, and the tracker knows. */
  async #giveToPeer(image: PushedImage): Promise<void> {
    for (const blob of blobsOf(image)) {
      await pullBlob(this.#proxies.peer, image.repository, blob);
      const key = swarmKey(blob.digest);
      const isKnown = async () => (await this.#asker.announce(key, { left: 1 })).peers.length > 0;
      await until(isKnown, { what: `the tracker to know that the peer has ${blob.digest}` });
      // The next to ask is not sent to who only asked.
      await this.#asker.announce(key, { event: "stopped", left: 1 });
    }
  }
}
