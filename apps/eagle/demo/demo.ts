/**
 * The demo: a registry, a tracker, a seeder and two proxies in this process, and an image pulled through both proxies.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProgressOutput } from "../../../lib/cli/progress.ts";
import { formatBytes, formatDuration } from "../../../lib/cli/quantities.ts";
import { HttpClient } from "../../../lib/http/client.ts";
import { type Cleanup, withCleanup } from "../../../lib/lifecycle/cleanup.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { OriginClient } from "../../../lib/registry/origin-client.ts";
import { FsStorage } from "../../../lib/storage/index.ts";
import type { RunningProxy } from "../../proxy/cmd/proxy.ts";
import { type Cluster, startCluster } from "../cluster/cluster.ts";
import { type ImageSink, pullImage } from "../pull/image.ts";
import { Meter } from "../pull/meter.ts";
import { receivedBySource } from "../pull/received.ts";
import { RegistryReader } from "../pull/registry-reader.ts";
import { type DemoImage, makeImage } from "./image.ts";
import { type DemoOrigin, REPOSITORY, startOrigin, TAG } from "./origin.ts";
import { type Counts, faultsOf, renderReport } from "./report.ts";

/** How the demo runs. */
export interface DemoInit {
  /** Bytes of the image, about. */
  readonly size: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Takes what is said. */
  readonly print: (text: string) => void;
  /** Where progress is drawn. @default process.stderr */
  readonly progress?: ProgressOutput;
}

/** Takes blobs and keeps nothing: their digests were checked on the way. */
const NOWHERE: ImageSink = {
  has: async () => false,
  async write(_, bytes) {
    for await (const _chunk of bytes);
  },
};

/**
 * Runs it. Nothing is left behind, however it ends.
 * @returns what is not as it should be; empty when all is well
 * @throws whatever makes a pull fail; the signal's reason
 */
export async function runDemo(init: DemoInit): Promise<string[]> {
  return await withCleanup((cleanup) => demo(cleanup, init));
}

async function demo(cleanup: Cleanup, { size, signal, log, print, progress }: DemoInit): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), "eagle-demo-"));
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));

  print(`Making an image of about ${formatBytes(size)} and a registry for it ...\n`);
  const storage = cleanup.use(await FsStorage.open({ rootDirectory: join(directory, "origin") }));
  const image = await makeImage(storage, { size, signal });
  const origin = cleanup.use(await startOrigin(storage, image, { log }));
  const places = ["proxy-1", "proxy-2"].map((name) => ({ name, port: 0, peerPort: 0 }));
  const cluster = cleanup.use(
    await startCluster({
      origins: [origin.authority],
      host: "127.0.0.1",
      trackerPort: 0,
      seederPort: 0,
      proxies: places,
      directory,
      limitSize: Math.max(1024 ** 3, size * 2),
      // A temporary directory on a full disk still has room for this.
      minFree: "0%",
      log,
    }),
  );
  print(introduction(image, origin, cluster));

  const http = new HttpClient();
  cleanup.defer(() => http.close());
  const client = new OriginClient({ http, log });
  for (const [index, proxy] of cluster.proxies.entries()) {
    signal.throwIfAborted();
    const cold = index === 0 ? "cold: nobody has the image yet" : `host ${index} has the image now`;
    print(`\nHost ${index + 1} pulls (${cold})\n`);
    const elapsed = await pull({ client, proxy, label: `proxy ${index + 1}`, signal, progress });
    print(`  ${image.blobs.length} blobs, every digest right, in ${formatDuration(elapsed)}\n`);
  }

  const counts: Counts = {
    blobs: image.blobs,
    sent: origin.sent,
    seeder: await receivedBySource(cluster.seeder.metrics),
    proxies: await Promise.all(cluster.proxies.map(({ metrics }) => receivedBySource(metrics))),
  };
  print(`\n${renderReport(counts)}`);
  return faultsOf(counts);
}

function introduction(
  { manifest, blobs }: DemoImage,
  origin: DemoOrigin,
  { tracker, seeder, proxies }: Cluster,
): string {
  const whole = formatBytes(blobs.reduce((sum, { size }) => sum + size, 0));
  return `  origin   http://${origin.authority}  ${REPOSITORY}:${TAG}, ${blobs.length} blobs of ${whole}, ${manifest.digest}
  tracker  ${tracker.url}
  seeder   ${seeder.url}
${proxies.map(({ url }, index) => `  proxy ${index + 1}  ${url}\n`).join("")}`;
}

/** @returns ms */
async function pull({
  client,
  proxy,
  label,
  signal,
  progress,
}: {
  client: OriginClient;
  proxy: RunningProxy;
  label: string;
  signal: AbortSignal;
  progress: ProgressOutput | undefined;
}): Promise<number> {
  const base = new URL(proxy.url);
  const reader = new RegistryReader({ client, upstream: { name: base.host, base } });
  const bySource = () => receivedBySource(proxy.metrics);
  return await withCleanup(async (cleanup) => {
    const meter = cleanup.use(new Meter({ label, bySource, ...(progress ? { output: progress } : {}) }));
    await pullImage(reader, {
      repository: REPOSITORY,
      reference: TAG,
      platform: undefined,
      sink: NOWHERE,
      signal,
      onPlan: ({ bytes }) => meter.expect(bytes),
      onBytes: (bytes) => meter.add(bytes),
    });
    return meter.elapsedMs;
  });
}
