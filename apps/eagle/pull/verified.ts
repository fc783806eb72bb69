/**
 * Bytes that are checked against their digest on the way.
 * @module
 */
import { BlobError } from "../../../lib/bt/errors.ts";
import { createDigestHash, type Digest } from "../../../lib/registry/digest.ts";

/**
 * Passes the bytes on and ends well only if they are those of the digest, all of them.
 * @param init.size Bytes, where known.
 * @throws BlobError digest_mismatch; whatever `bytes` throws
 */
export async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  { digest, size = Number.POSITIVE_INFINITY }: { digest: Digest; size?: number | undefined },
): AsyncGenerator<Uint8Array> {
  const hash = createDigestHash(digest);
  let length = 0;
  for await (const chunk of bytes) {
    length += chunk.length;
    if (length > size) break;
    hash.update(chunk);
    yield chunk;
  }
  if (size !== Number.POSITIVE_INFINITY && length !== size) {
    throw new BlobError(
      "digest_mismatch",
      `${digest}: ${length > size ? "more" : "fewer"} than the ${size} bytes it should have`,
    );
  }
  if (hash.digest("hex") !== digest.hex)
    throw new BlobError("digest_mismatch", `${digest}: what came has another digest`);
}
