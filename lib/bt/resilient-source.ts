/**
 * A blob for a client, come what may: when the blob fails half-way the origin goes on at the byte where it stopped.
 * Only bytes that are known to be wrong end the stream in an error.
 * @module
 */
import type { Hash } from "node:crypto";
import type { BodySource } from "../http/direct-body.ts";
import { createDigestHash } from "../registry/digest.ts";
import { blobSource } from "./blob-source.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import type { LiveBlob } from "./live-blob.ts";
import type { Origin } from "./origin-fill.ts";

export interface ResilientSourceInit {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly origin: Origin;
  /** Buffers of at least a chunk. */
  readonly buffers: BufferPool;
  /** Bytes the client took. */
  onBytes?(bytes: number): void;
  /** The origin goes on from `position`. */
  onFailover?(position: number, error: unknown): void;
  /** Called once, at the end of any kind. */
  onClose?(): void;
}

/** See the module. Cancelling it stops whatever it reads from. */
export function resilientSource(blob: LiveBlob, init: ResilientSourceInit): BodySource {
  const gone = new AbortController();
  const { signal } = gone;
  let position = init.start;
  /** The blob as it arrives, until it fails... */
  let source: BodySource | undefined;
  /** ...and the origin from then on. */
  let rest: AsyncGenerator<Uint8Array, undefined> | undefined;
  let isPulling = false;
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    source?.cancel();
    init.onClose?.();
  };
  const goOn = (error: unknown) => {
    if (signal.aborted || (error instanceof BlobError && error.code === "digest_mismatch")) throw error;
    init.onFailover?.(position, error);
    const wasWhole = init.start === 0 && init.end === init.size;
    return fromOrigin(blob, { ...init, start: position, wasWhole }, signal);
  };
  return {
    mayWait: true,
    async pull() {
      isPulling = true;
      try {
        let chunk: Uint8Array | undefined;
        if (!rest) {
          try {
            source ??= await begin(blob, init, signal);
            chunk = await source.pull();
          } catch (error) {
            rest = goOn(error);
          }
        }
        if (rest) chunk = (await rest.next()).value;
        position += chunk?.length ?? 0;
        if (chunk === undefined) close();
        else init.onBytes?.(chunk.length);
        return chunk;
      } catch (error) {
        close();
        throw error;
      } finally {
        isPulling = false;
        if (signal.aborted && !rest) close();
      }
    },
    cancel() {
      gone.abort();
      if (rest) {
        rest
          .return(undefined)
          .catch(() => {})
          .finally(close);
      } else if (!isPulling) {
        close();
      }
    },
  };
}

/** The blob as it arrives, once it is known to be what was promised. */
async function begin(
  blob: LiveBlob,
  { start, end, size, buffers }: ResilientSourceInit,
  signal: AbortSignal,
): Promise<BodySource> {
  await blob.waitFor(() => blob.layout !== undefined, signal);
  if (blob.size !== size) {
    throw new BlobError("unavailable", `${blob.digest}: ${size} bytes were promised, what arrives has ${blob.size}`);
  }
  return blobSource(blob, { start, end, buffers, signal });
}

/** The rest from the origin; of a whole blob the last bytes wait for the digest. */
async function* fromOrigin(
  blob: LiveBlob,
  { start, end, size, origin, buffers, wasWhole }: ResilientSourceInit & { wasWhole: boolean },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  const hash = wasWhole ? await hashDelivered(blob, { length: start, buffers }) : undefined;
  const read = await origin.read({ start, end }, signal);
  if (read.size !== undefined && read.size !== size) {
    read.close();
    throw new BlobError("digest_mismatch", `${blob.digest}: ${origin.name} has ${read.size} bytes, not ${size}`);
  }
  let held: Uint8Array | undefined;
  let received = 0;
  for await (const chunk of read.body) {
    received += chunk.length;
    hash?.update(chunk);
    if (held) yield held;
    held = chunk;
  }
  if (received !== end - start) throw new BlobError("unavailable", `${blob.digest}: ${origin.name} ended early`);
  if (hash && hash.digest("hex") !== blob.digest.hex) {
    throw new BlobError("digest_mismatch", `${blob.digest}: what ${origin.name} sent has another digest`);
  }
  if (held) yield held;
  return undefined;
}

/**
 * The digest of what the client has, read back from where it came.
 * @throws BlobError storage when the disk does not give back what it gave out: nobody could vouch for the whole then.
 */
async function hashDelivered(
  blob: LiveBlob,
  { length, buffers }: { length: number; buffers: BufferPool },
): Promise<Hash> {
  const hash = createDigestHash(blob.digest);
  const buffer = buffers.take();
  try {
    for (let position = 0; position < length; position += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, length - position));
      await blob.readDelivered(part, position);
      hash.update(part);
    }
    return hash;
  } catch (cause) {
    throw new BlobError("storage", `${blob.digest}: what was delivered cannot be read back`, { cause });
  } finally {
    buffers.give(buffer);
  }
}
