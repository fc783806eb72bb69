/**
 * @module What the tests of the wire ask seeder and tracker.
 */
import { writeFile } from "node:fs/promises";
import bencode from "bencode";
import { decodeMetainfo, infoHash } from "../../lib/bt/metainfo.ts";
import { silentLogger } from "../../lib/log/log.ts";
import { MetaInfoClient } from "../../lib/rpc/client.ts";
import { type Cluster, registryName } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { call, open } from "../rig/http-call.ts";
import type { Descriptor } from "../rig/image.ts";
import { until } from "../rig/until.ts";

/** The metainfo as the seeder's service tells it: without web seeds. The seeder reads the blob if it has not. */
export async function askMetainfo(seeder: EagleApp, repository: string, blob: Descriptor): Promise<Uint8Array> {
  await using client = new MetaInfoClient({ seeders: [seeder.url], log: silentLogger });
  return await client.getMetaInfo({ url: `http://${registryName}/v2/${repository}/blobs/${blob.digest}` });
}

/** Writes a torrent for clients as the seeder's page has it, with its web seed or by wire alone. @returns the path. */
export async function saveTorrent(
  cluster: Cluster,
  { repository, blob, webSeed }: { repository: string; blob: Descriptor; webSeed: boolean },
): Promise<string> {
  // The seeder has the blob then.
  await askMetainfo(cluster.seeder, repository, blob);
  let bytes = await get(new URL(`/torrents/${blob.digest}.torrent`, cluster.seeder.url));
  if (!webSeed) {
    const { "url-list": _, ...rest } = bencode.decode(bytes) as Record<string, unknown>;
    // A seeder that is to stay unknown to peers tells no tracker.
    bytes = bencode.encode({ announce: new URL("/announce", cluster.tracker.url).href, ...rest });
  }
  const path = cluster.rig.path(`${blob.digest.slice(7, 19)}-${webSeed ? "web" : "wire"}.torrent`);
  await writeFile(path, bytes);
  return path;
}

/** Waits until a tracker knows so many complete peers of a torrent by their announces. */
export async function untilSeeds(tracker: EagleApp, metainfo: Uint8Array, count: number): Promise<void> {
  const hash = Buffer.from(infoHash(decodeMetainfo(metainfo)));
  const query = hash.toString("hex").replace(/../g, "%$&");
  await until(
    async () => {
      const answer = bencode.decode(await get(new URL(`/scrape?info_hash=${query}`, tracker.url)));
      const { files = {} } = answer as { files?: Record<string, { complete?: number }> };
      return Object.values(files).some(({ complete = 0 }) => complete >= count);
    },
    { what: `${count} seeds at the tracker` },
  );
}

async function get(url: URL): Promise<Uint8Array> {
  const response = await open(url, {});
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
  return Buffer.concat(chunks);
}

/** Lets a proxy learn from the origin who may have a blob, so that it can do without afterwards. */
export async function letIn(proxy: EagleApp, repository: string, blob: Descriptor): Promise<void> {
  const head = await call(new URL(`/v2/${repository}/blobs/${blob.digest}`, proxy.url), { method: "HEAD" });
  if (head.status !== 200) throw new Error(`HEAD: ${head.status}`);
}
