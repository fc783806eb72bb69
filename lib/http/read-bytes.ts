/**
 * @module
 * A whole body in memory, of bounded length.
 */

/** The body is longer than allowed; nothing was kept. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
  readonly code = "too_large";
}

/**
 * Reads a body to its end.
 *
 * @param maxBytes the reader leaves as soon as the body is longer
 * @throws BodyTooLargeError; whatever the body throws
 */
export async function readBytes(body: AsyncIterable<Uint8Array> | null, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body ?? []) {
    length += part.length;
    if (length > maxBytes) throw new BodyTooLargeError(`a body of more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts, length);
}
