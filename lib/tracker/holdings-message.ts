/** @module The heartbeat as it travels: `POST /p2p/v1/holdings`, JSON. */
import { z } from "zod";
import { TrackerError } from "./errors.ts";

/** Digests added and removed by one message; a host that holds more sends several. */
export const MAX_DIGESTS_PER_MESSAGE = 5000;
/** Of a message's body: 5,000 of the longest digests fit. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** What a tracker grants, whatever is asked for, seconds. */
export const LEASE_BOUNDS = { least: 5, most: 300 } as const;
/** Characters of a zone. */
export const MAX_ZONE_LENGTH = 64;

const digest = z.string().regex(/^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/, "no sha256 or sha512 digest");

const message = z
  .object({
    /** Peer id, 40 hex digits: the same one as in announces. */
    peer: z.string().regex(/^[0-9a-f]{40}$/, "40 hex digits wanted"),
    /** Where pieces are served over HTTP. */
    port: z.int().min(1).max(65535),
    /** Where this host is reached: believed of parts of the tracker's cluster, and of one loopback address by another. */
    host: z.string().max(64).optional(),
    zone: z.string().max(MAX_ZONE_LENGTH).optional(),
    /** Random for each start of the process. */
    epoch: z.string().min(1).max(64),
    /** Seconds for which this may be believed. */
    lease: z.number().positive(),
    /** 1 for the first message of an epoch, then one more each time. */
    seq: z.int().min(0),
    add: z.array(digest).max(MAX_DIGESTS_PER_MESSAGE).default([]),
    remove: z.array(digest).max(MAX_DIGESTS_PER_MESSAGE).default([]),
    /** Begin of the whole list: what was told before is void. The rest follows as plain messages. */
    full: z.boolean().optional(),
    /** This host stops serving. */
    stopped: z.boolean().optional(),
  })
  .refine(({ add, remove }) => add.length + remove.length <= MAX_DIGESTS_PER_MESSAGE, {
    message: `more than ${MAX_DIGESTS_PER_MESSAGE} digests`,
    path: ["add"],
  });

/** A heartbeat. Fields this version does not know are ignored, so that hosts may be newer than trackers. */
export type HoldingsMessage = z.infer<typeof message>;

/** What a tracker answers. */
export interface HoldingsAnswer {
  /** Seconds granted. */
  readonly lease: number;
  /** The tracker does not know all that was told before: send everything again. */
  readonly resync: boolean;
}

const answer = z.object({ lease: z.number(), resync: z.boolean() });

/**
 * Reads a heartbeat.
 *
 * @throws TrackerError `invalid`, naming the first fields that are wrong
 */
export function parseHoldingsMessage(body: Uint8Array): HoldingsMessage {
  return parse(message, body, "heartbeat");
}

/** Reads the answer to a heartbeat. @throws TrackerError `invalid` */
export function parseHoldingsAnswer(body: Uint8Array): HoldingsAnswer {
  return parse(answer, body, "heartbeat answer");
}

function parse<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new TrackerError("invalid", `${what} is no JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.slice(0, 3).map(({ path, message: text }) => `${path.join(".")}: ${text}`);
  throw new TrackerError("invalid", `${what}: ${problems.join("; ")}`);
}
