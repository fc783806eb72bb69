/**
 * The demo's registry and cluster in the test's own process: for tests alone.
 * @module
 */
import { join } from "node:path";
import { silentLogger } from "../../../lib/log/log.ts";
import { FsStorage } from "../../../lib/storage/index.ts";
import { type Cluster, startCluster } from "../cluster/cluster.ts";
import { type DemoImage, makeImage } from "../demo/image.ts";
import { type DemoOrigin, startOrigin } from "../demo/origin.ts";
import { tempDirectory } from "./temp-directory.ts";

/** A registry with an image of a few MiB; a tracker, a seeder, and proxies. */
export interface SmallWorld extends AsyncDisposable {
  /** For the test's own files. */
  readonly directory: string;
  readonly image: DemoImage;
  readonly origin: DemoOrigin;
  readonly cluster: Cluster;
}

export async function smallWorld({ proxies = 1 }: { proxies?: number } = {}): Promise<SmallWorld> {
  await using cleanup = new AsyncDisposableStack();
  const { path: directory } = cleanup.use(await tempDirectory());
  const storage = cleanup.use(await FsStorage.open({ rootDirectory: join(directory, "origin") }));
  const image = await makeImage(storage, { size: 4 * 1024 * 1024, signal: new AbortController().signal });
  const origin = cleanup.use(await startOrigin(storage, image, { log: silentLogger }));
  const cluster = cleanup.use(
    await startCluster({
      origins: [origin.authority],
      host: "127.0.0.1",
      trackerPort: 0,
      seederPort: 0,
      proxies: Array.from({ length: proxies }, (_, index) => ({ name: `proxy-${index}`, port: 0, peerPort: 0 })),
      directory,
      limitSize: 1024 ** 3,
      minFree: "0%",
      log: silentLogger,
    }),
  );
  const stack = cleanup.move();
  return { directory, image, origin, cluster, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
