/** @module `POST /p2p/v1/holdings`: the heartbeat of a host, JSON both ways. */
import { Hono } from "hono";
import { TrackerError } from "../../../lib/tracker/errors.ts";
import { MAX_MESSAGE_BYTES, parseHoldingsMessage } from "../../../lib/tracker/holdings-message.ts";
import type { TrackerProtocol } from "../../../lib/tracker/protocol.ts";
import type { TrackerEnv } from "./env.ts";

/** What the route needs. */
export interface HoldingsRoutesInit {
  readonly protocol: TrackerProtocol;
  readonly metrics?: { readonly requests: { inc(labels: { result: string }): void } };
}

/** 400 for a message that is none, 413 for one beyond 1 MiB, 503 when there is no room. */
export function holdingsRoutes({ protocol, metrics }: HoldingsRoutesInit): Hono<TrackerEnv> {
  return new Hono<TrackerEnv>().post("/p2p/v1/holdings", async (c) => {
    const refuse = (error: string, status: 400 | 413 | 503) => {
      metrics?.requests.inc({ result: status === 503 ? "full" : "refused" });
      return c.json({ error }, status);
    };
    const body = await readBody(c.req.raw, MAX_MESSAGE_BYTES);
    if (body === undefined) return refuse(`a heartbeat has at most ${MAX_MESSAGE_BYTES} bytes`, 413);
    try {
      const answer = await protocol.holdings(parseHoldingsMessage(body), c.env?.remoteAddress ?? "");
      metrics?.requests.inc({ result: "ok" });
      return c.json(answer);
    } catch (error) {
      if (!(error instanceof TrackerError)) throw error;
      return refuse(error.message, error.code === "full" ? 503 : 400);
    }
  });
}

/** The whole body, or `undefined` when it is larger than `limit`; no more than that is ever kept. */
async function readBody(request: Request, limit: number): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > limit) return undefined;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
