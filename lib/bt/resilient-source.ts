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
  const chunks = deliver(blob, init, gone.signal);
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    init.onClose?.();
  };
  return {
    mayWait: true,
    async pull() {
      try {
        const { value } = await chunks.next();
        if (value === undefined) close();
        else init.onBytes?.(value.length);
        return value;
      } catch (error) {
        close();
        throw error;
      }
    },
    cancel() {
      gone.abort();
      chunks
        .return(undefined)
        .catch(() => {})
        .finally(close);
    },
  };
}

async function* deliver(
  blob: LiveBlob,
  init: ResilientSourceInit,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  let position = init.start;
  try {
    await blob.waitFor(() => blob.layout !== undefined, signal);
    if (blob.size !== init.size) {
      throw new BlobError(
        "unavailable",
        `${blob.digest}: ${init.size} bytes were promised, what arrives has ${blob.size}`,
      );
    }
    const source = blobSource(blob, { start: init.start, end: init.end, buffers: init.buffers, signal });
    try {
      for (let chunk = await source.pull(); chunk; chunk = await source.pull()) {
        position += chunk.length;
        yield chunk;
      }
    } finally {
      source.cancel();
    }
    return;
  } catch (error) {
    if (signal.aborted || (error instanceof BlobError && error.code === "digest_mismatch")) throw error;
    init.onFailover?.(position, error);
  }
  yield* fromOrigin(blob, { ...init, start: position, wasWhole: init.start === 0 && init.end === init.size }, signal);
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
