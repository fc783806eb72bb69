/**
 * @module
 * Chunks of a body whose buffer goes back to its owner once they are sent. At line rate a buffer per chunk is what
 * garbage collectors spend their time on.
 */

/** The owner's function on a chunk; see {@link lend}. */
const RELEASE: unique symbol = Symbol("eagle.release");

type Lent = Uint8Array & { [RELEASE]?: () => void };

/**
 * Marks a chunk as lent. `release` is called at most once, when nobody reads the chunk's bytes any more; it may never
 * be called (a body that is cancelled), so the owner must not wait for it.
 */
export function lend(chunk: Uint8Array, release: () => void): Uint8Array {
  (chunk as Lent)[RELEASE] = release;
  return chunk;
}

/** Gives a chunk back, if it was lent. Only whoever knows that its bytes were used up may call it. */
export function giveBack(chunk: Uint8Array): void {
  const lent = chunk as Lent;
  const release = lent[RELEASE];
  if (!release) return;
  delete lent[RELEASE];
  release();
}
