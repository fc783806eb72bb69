/**
 * @module
 * Bodies that the listener takes straight from their source. A `ReadableStream` costs several promises and objects a
 * chunk, which is nothing for a page and too much for a hundred small pushes a second to each of many peers. Wherever
 * else such a response is used (an edge runtime, a test) its body is an ordinary stream over the same source.
 */

/** Where the chunks of a body come from. */
export interface BodySource {
  /** The first chunk may be long in coming: the head of the answer does not wait for it. @default false */
  readonly mayWait?: boolean;
  /** The next chunk, when there is one; undefined at the end. Not called again before it settled, nor after the end. */
  pull(): Promise<Uint8Array | undefined>;
  /** Nobody reads on: called at most once, also while `pull` is waiting. Not called after the end or an error. */
  cancel(): void;
}

/** The source on a response; see {@link bodyResponse}. */
const SOURCE: unique symbol = Symbol("eagle.bodySource");

/** A response whose body is `source`. Whoever consumes the response pulls it to its end or cancels it. */
export function bodyResponse(source: BodySource, init: ResponseInit): Response {
  // The DOM types want chunks over plain ArrayBuffers; every runtime takes any Uint8Array.
  const body = sourceStream(source) as ReadableStream<Uint8Array<ArrayBuffer>>;
  return Object.assign(new Response(body, init), { [SOURCE]: source });
}

/** The chunks of a source as a stream. */
export function sourceStream(source: BodySource): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = await source.pull();
        if (chunk) controller.enqueue(chunk);
        else controller.close();
      },
      cancel: () => source.cancel(),
    },
    { highWaterMark: 0 },
  );
}

/** Takes the source of a response; the response's own body must not be touched then. */
export function bodySource(response: Response): BodySource | undefined {
  return (response as Response & { [SOURCE]?: BodySource })[SOURCE];
}
