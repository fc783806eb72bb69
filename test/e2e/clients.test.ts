/**
 * @module Every cell of docs/clients.md: a real client, a real registry, one way through Eagle.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { type Cluster, registryName, startCluster } from "../rig/cluster.ts";
import { type EagleApp, repositoryRoot } from "../rig/eagle.ts";
import { startContainerd } from "../rig/engines/containerd.ts";
import { createCrane } from "../rig/engines/crane.ts";
import { startDockerd } from "../rig/engines/dockerd.ts";
import type { Credentials, Engine } from "../rig/engines/engine.ts";
import { createPodman } from "../rig/engines/podman.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { craneTool, goTool } from "../rig/go-tools.ts";
import type { PushedImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { startTokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";
import { ACCESSES, type Access, CLIENTS, type Client, WAYS, type Way } from "./clients/matrix.ts";
import { renderPage } from "./clients/page.ts";

const user: Credentials = { username: "alice", password: "wonder-land" };
const repository = "library/app";
const layers = [
  { size: 100_000 },
  { size: 1_500_000, kind: "text", compression: "gzip" },
  { size: 5_000_000 },
] as const;

test("docs/clients.md is what this file proves", async () => {
  assert.equal(await readFile(`${repositoryRoot}docs/clients.md`, "utf8"), renderPage());
});

const base = need({ tools: ["docker-registry", "openssl", "htpasswd"], root: true });
const crane = base === false ? await goTool(craneTool) : { missing: base };

const starts: Readonly<Record<string, (rig: Rig, way: Way, url: URL) => Promise<Engine>>> = {
  dockerd: (rig, way, url) =>
    startDockerd(rig, {
      route: way === "mirror" ? { kind: "mirror", url } : { kind: "proxy", url, insecureRegistry: registryName },
    }),
  containerd: (rig, way, url) => startContainerd(rig, routeOf(way, url)),
  podman: (rig, way, url) => createPodman(rig, routeOf(way, url)),
  skopeo: (rig, way, url) => createSkopeo(rig, routeOf(way, url)),
  crane: (rig, way, url) =>
    createCrane(rig, { path: (crane as { path: string }).path, ...(way === "mirror" ? {} : routeOf(way, url)) }),
};

function routeOf(way: Way, url: URL) {
  return way === "mirror"
    ? { mirrors: [{ registry: "docker.io", mirror: url }] }
    : { proxy: { url, insecureRegistry: registryName } };
}

/** As a person would type it. */
function referenceOf({ name }: Client, way: Way, url: URL): string {
  if (way === "http-proxy") return `${registryName}/${repository}:1`;
  return `${name === "crane" ? url.host : "docker.io"}/${repository}:1`;
}

function skipOf({ name, tools }: Client): string | false {
  if (name === "crane") return "missing" in crane ? crane.missing : false;
  return need({ tools, root: true });
}

for (const access of ACCESSES) {
  describe(`a registry with access ${access}`, { skip: base }, () => {
    let rig: Rig;
    let cluster: Cluster;
    /** Knows the registry's password. */
    let knowing: EagleApp;
    let image: PushedImage;

    before(async () => {
      rig = await Rig.create();
      const { auth, authorization } = await authOf(rig, access);
      cluster = await startCluster(rig, { proxies: 1, ...(auth && { auth }) });
      const upstream = { upstream: cluster.origin.url.origin, plainHTTP: true, ...user };
      if (access !== "anonymous") {
        knowing = await cluster.addProxy({ registries: { "docker.io": upstream, [registryName]: upstream } });
      }
      image = await cluster.pushImage(repository, layers, authorization);
    });
    after(() => rig.close());

    for (const client of CLIENTS) {
      for (const way of WAYS) {
        const outcome = client.ways[way].outcomes[access];
        test(`${client.name}, ${way}`, { skip: skipOf(client) }, async (t) => {
          const own = await Rig.for(t);
          const start = starts[client.name]!;
          const { url } = cluster.proxy(0);
          const reference = referenceOf(client, way, url);
          const engine = await start(own, way, url);
          if (access === "anonymous") {
            await engine.pull(reference);
          } else {
            await assert.rejects(engine.pull(reference), refusal(outcome), "without credentials");
            if (outcome === "pulls") await engine.pull(reference, user);
          }
          if (outcome === "pulls") {
            await engine.verify(reference, image);
            return;
          }
          await engine.close();
          const other = await Rig.for(t);
          const served = await start(other, way, knowing.url);
          await served.pull(referenceOf(client, way, knowing.url));
          await served.verify(reference, image);
        });
      }
    }
  });
}

/** How clients say it. dockerd goes on to the Hub after a mirror's refusal, which is out of reach here. */
function refusal(outcome: "pulls" | "own credentials"): RegExp {
  if (outcome === "own credentials") return /registry-1\.docker\.io|denied|unauthorized/i;
  return /unauthorized|authentication required|no basic auth|denied|authorization failed|401/i;
}

async function authOf(rig: Rig, access: Access) {
  const { username, password } = user;
  if (access === "anonymous") return {};
  if (access === "basic") {
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    return { auth: { kind: "htpasswd", users: { [username]: password } } as const, authorization };
  }
  const tokens = await startTokenServer(rig, {
    // crane takes no realm at an address that is private.
    realmHost: "localhost",
    users: { [username]: password },
    allow: (name, { actions }) => (name === username ? actions.filter((action) => action === "pull") : []),
  });
  const authorization = tokens.bearer("pusher", [{ type: "repository", name: repository, actions: ["pull", "push"] }]);
  return { auth: { kind: "token", ...tokens } as const, authorization };
}
