/**
 * `eagle cache rm`: removes blobs; where a process works on the cache, that process does it and tells the cluster.
 * @module
 */
import { requestRemoval } from "../../../lib/bt/removal-requests.ts";
import { withCleanup } from "../../../lib/lifecycle/cleanup.ts";
import { BlobNotFoundError, FsStorage } from "../../../lib/storage/index.ts";
import type { CachePlace } from "./place.ts";
import { idOf } from "./stored.ts";

/** Requests that wait at once. */
const AT_ONCE = 32;

/** What became of a blob: undefined when it is gone. */
export type Removal = { readonly digest: string; readonly error?: string };

/** Removes blobs, each on its own. @throws StorageError when the directory cannot be used; the signal's reason. */
export async function removeBlobs(
  place: CachePlace,
  digests: readonly string[],
  signal: AbortSignal,
): Promise<Removal[]> {
  const remove = (remover: (digest: string) => Promise<string | undefined>) => removeAll(digests, remover, signal);
  if (place.owner !== undefined) return await remove((digest) => ask(place, digest, signal));
  return await withCleanup(async (cleanup) => {
    // With the lock: a process that starts now waits no longer than it takes, and is told why it may not.
    const storage = cleanup.use(await FsStorage.open({ rootDirectory: place.rootDirectory }));
    return await remove(async (digest) => {
      await storage.delete(idOf(digest)).catch((error: unknown) => {
        if (!(error instanceof BlobNotFoundError)) throw error;
      });
      return undefined;
    });
  });
}

async function removeAll(
  digests: readonly string[],
  remover: (digest: string) => Promise<string | undefined>,
  signal: AbortSignal,
): Promise<Removal[]> {
  const removals: Removal[] = [];
  const queue = digests.values();
  const work = async () => {
    for (const digest of queue) {
      signal.throwIfAborted();
      const error = await remover(digest).catch((cause: unknown) => {
        signal.throwIfAborted();
        return cause instanceof Error ? cause.message : String(cause);
      });
      removals.push(error === undefined ? { digest } : { digest, error });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return removals;
}

async function ask(
  { rootDirectory, owner }: CachePlace,
  digest: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const isDone = await requestRemoval({ rootDirectory, id: idOf(digest) }, signal);
  return isDone ? undefined : `process ${owner}, which works on ${rootDirectory}, did not remove it in time`;
}
