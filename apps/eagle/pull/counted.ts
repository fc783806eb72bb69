/**
 * Bytes that are counted on the way.
 * @module
 */

/** Passes chunks on, and tells the length of each. */
export async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  onBytes?: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    onBytes?.(chunk.length);
    yield chunk;
  }
}
