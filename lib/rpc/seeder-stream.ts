/**
 * @module
 * One StreamMetaInfo call to one seeder: its deadline, its sign of life, its end.
 */
import type { Client } from "@connectrpc/connect";
import { MetaInfoError } from "./errors.ts";
import { fromMessage } from "./events.ts";
import type { MetaInfo } from "./gen/metainfo/metainfo_pb.ts";
import { AUTHORIZATION_HEADER, type BlobEvent } from "./meta-info.ts";

/** How long the trailers may take after the last event. */
const TRAILER_TIMEOUT_MS = 1000;

/** What {@link openSeederStream} needs. */
export interface SeederStreamInit {
  client: Client<typeof MetaInfo>;
  /** Names the seeder in messages. */
  seeder: string;
  url: string;
  authorization?: string;
  /** More headers of the call. */
  headers?: Readonly<Record<string, string>>;
  /** Ends the call at any time; its reason is then thrown. */
  signal: AbortSignal;
  /** For the first event, ms. */
  deadlineMs: number;
  /** For each further event, ms. */
  progressTimeoutMs: number;
  /** Turns what the transport threw into what the reader of the events is to see. */
  explain?: (reason: unknown) => unknown;
  /** Called once, when the stream is over in whatever way. `reason`: as thrown to the reader, if it was. */
  onEnd?: (reason?: unknown) => void;
}

/**
 * Opens the stream and waits for its first event.
 * @returns the events, the first included. The reader must read to the end or call the iterator's `return()`; `signal` ends it too.
 * @throws MetaInfoError "deadline_exceeded" (here, and later from the events), the signal's reason, or the transport's error
 */
export async function openSeederStream(init: SeederStreamInit): Promise<AsyncIterableIterator<BlobEvent>> {
  const { seeder, url, authorization, signal, deadlineMs, progressTimeoutMs, explain = (reason) => reason } = init;
  signal.throwIfAborted();
  const controller = new AbortController();
  let over = false;
  /** Why the stream was ended while nobody was reading; thrown at the next read. */
  let untold: { reason: unknown } | undefined;
  const leave = () => {
    untold = { reason: signal.reason };
    end(signal.reason);
  };
  signal.addEventListener("abort", leave, { once: true });

  function end(reason?: unknown): void {
    if (over) return;
    over = true;
    signal.removeEventListener("abort", leave);
    // The transport has no other way to be told that nobody reads on.
    controller.abort(reason ?? new DOMException("the stream is no longer read", "AbortError"));
    init.onEnd?.(reason);
  }

  const headers = {
    ...init.headers,
    ...(authorization === undefined ? {} : { [AUTHORIZATION_HEADER]: authorization }),
  };
  const call = init.client.streamMetaInfo({ url }, { signal: controller.signal, headers });
  const source = call[Symbol.asyncIterator]();

  /** The next event this version knows, or undefined at the end. */
  async function read(timeoutMs: number): Promise<BlobEvent | undefined> {
    const late = () => {
      const message = `seeder ${seeder} sent nothing for ${timeoutMs} ms`;
      controller.abort(new MetaInfoError("deadline_exceeded", message));
    };
    for (;;) {
      // In two halves: after a stop of this very process the second still leaves time to read what has long arrived.
      let timer = setTimeout(() => {
        timer = setTimeout(late, timeoutMs / 2);
      }, timeoutMs / 2);
      try {
        const result = await source.next();
        if (result.done) return undefined;
        const event = fromMessage(result.value);
        if (event !== undefined) return event;
      } catch (reason) {
        // The transport wraps the reason of an abort; callers want it as it was.
        const actual = controller.signal.aborted ? controller.signal.reason : reason;
        untold = undefined;
        end(actual);
        throw actual;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** Takes the trailers after the last event: a stream reset instead would look like an attack to a server that gets many. */
  async function finish(): Promise<void> {
    const timer = setTimeout(end, TRAILER_TIMEOUT_MS);
    try {
      await source.next();
    } catch {
      // The metainfo is whole: what follows it does not matter.
    } finally {
      clearTimeout(timer);
      end();
    }
  }

  function premature(): MetaInfoError {
    const reason = new MetaInfoError("unavailable", `seeder ${seeder} ended its answer before the metainfo`);
    end(reason);
    return reason;
  }

  let held = await read(deadlineMs);
  if (held === undefined) throw premature();
  let whole = false;

  const events: AsyncIterableIterator<BlobEvent> = {
    [Symbol.asyncIterator]: () => events,
    async next() {
      if (untold !== undefined) {
        const { reason } = untold;
        untold = undefined;
        held = undefined;
        throw reason;
      }
      let event = held;
      held = undefined;
      if (event === undefined) {
        if (over || whole) return { done: true, value: undefined };
        try {
          event = await read(progressTimeoutMs);
          if (event === undefined) throw premature();
        } catch (reason) {
          throw signal.aborted ? reason : explain(reason);
        }
      }
      if (event.type === "metainfo") {
        whole = true;
        void finish();
      }
      return { done: false, value: event };
    },
    async return() {
      held = undefined;
      untold = undefined;
      if (!whole) end();
      return { done: true, value: undefined };
    },
  };
  return events;
}
