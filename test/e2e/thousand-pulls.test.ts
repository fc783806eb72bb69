/**
 * @module A thousand pulls of small images at the same moment, through one proxy before a registry that wants tokens:
 * none fails, memory stays small, and the token server is asked once for each repository.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { blobUrl } from "../rig/blob-reader.ts";
import { startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { call } from "../rig/http-call.ts";
import { blobsOf, type Descriptor, type PushedImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { startTokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry", "openssl"] });

const PULLS = 1000;
const IMAGES = 50;
const MOST_MEMORY = 400_000_000;
/** A machine that needs seconds for this many pulls must not be taken for an origin that has fallen silent. */
const patient = { firstByteTimeout: 60 };
const layers = [{ size: 4096 }, { size: 6000, kind: "text" }, { size: 8192 }] as const;

describe(`${PULLS} pulls of ${IMAGES} small images at once`, { skip }, () => {
  for (const { title, seeders, tokens: mostTokens } of [
    { title: "from the registry by the proxy itself", seeders: 0, tokens: 1 },
    // Proxy and seeder are two: each has a token of its own.
    { title: "by way of a seeder", seeders: 1, tokens: 2 },
  ]) {
    test(title, async (t) => {
      const rig = await Rig.for(t);
      const tokens = await startTokenServer(rig, {
        users: {},
        allow: (_, { actions }) => actions.filter((action) => action === "pull"),
      });
      const cluster = await startCluster(rig, {
        ...{ seeders, proxies: 1, auth: { kind: "token", ...tokens } },
        ...{ seederConfig: { seederCfg: patient }, proxyConfig: { clientCfg: patient } },
      });
      const images: PushedImage[] = [];
      for (let index = 0; index < IMAGES; index++) {
        const name = `library/small-${index}`;
        const access = [{ type: "repository", name, actions: ["pull", "push"] }];
        images.push(await cluster.pushImage(name, layers, tokens.bearer("pusher", access)));
      }
      const proxy = cluster.proxy();
      const began = performance.now();
      const pulls = Array.from({ length: PULLS }, (_, index) => pull(proxy, images[index % IMAGES]!));
      const ended = await Promise.allSettled(pulls);
      const seconds = (performance.now() - began) / 1000;
      const failures = ended.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
      const { peak } = proxy.process.memory();
      t.diagnostic(`${seconds.toFixed(1)} s, ${Math.round(peak / 1e6)} MB at most, ${failures.length} failures`);
      assert.deepEqual(failures.slice(0, 5), []);
      assert.ok(peak < MOST_MEMORY, `${peak} bytes of memory`);
      for (const { repository } of images) {
        const asked = tokens.requests.filter(({ scopes }) => scopes.includes(`repository:${repository}:pull`));
        assert.ok(asked.length >= 1 && asked.length <= mostTokens, `${asked.length} tokens for ${repository}`);
      }
      const scoped = new Set(tokens.requests.map(({ scopes }) => scopes.join(" ")));
      assert.ok(tokens.requests.length <= mostTokens * scoped.size, "no other token is fetched twice");
      for (const blob of images.flatMap(blobsOf))
        assert.equal(cluster.origin.blobBytes(blob.digest), blob.size, `${blob.digest} is read from the registry once`);
    });
  }
});

/** As an engine does: the manifest by its tag, then what it names. */
async function pull({ url }: EagleApp, image: PushedImage): Promise<void> {
  const { repository, tag, manifest } = image;
  const accept = { accept: manifest.mediaType };
  await get(new URL(`/v2/${repository}/manifests/${tag}`, url), manifest, accept);
  for (const blob of blobsOf(image)) await get(blobUrl(url, repository, blob.digest), blob);
}

async function get(url: URL, { digest, size }: Descriptor, headers: Record<string, string> = {}): Promise<void> {
  const { status, body, text } = await call(url, { headers, signal: AbortSignal.timeout(120_000) });
  assert.equal(status, 200, `${url}: ${text}`);
  assert.equal(body.length, size, `${url}`);
  assert.equal(`sha256:${createHash("sha256").update(body).digest("hex")}`, digest, `${url}`);
}
