/**
 * The signature by which parts of one cluster know each other's requests (docs/design.md, "Between the parts"):
 * `Authorization: Eagle <unix seconds>.<hex HMAC-SHA256(secret, method \n authority \n target \n seconds)>`.
 *
 * The secret itself never travels. The authority is the one that was dialled, so that whoever receives a signature,
 * rightly or by a lie about where a peer is, cannot use it anywhere else.
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/** How far the clocks of two parts may differ, and how long a signature is good, seconds. */
export const WINDOW_SECONDS = 300;

const SCHEME = "Eagle";
const HEADER = /^Eagle ([0-9]{1,12})\.([0-9a-f]{64})$/i;

/** What is signed. */
export interface SignedParts {
  /** Upper case. */
  readonly method: string;
  /** `host:port` as `canonicalAuthority` writes it. */
  readonly authority: string;
  /** Path and query, exactly as sent. */
  readonly target: string;
}

/** Why a signature does not count. */
export type SignatureFault = "malformed" | "expired" | "wrong";

/** The header's value. @param seconds Unix time. */
export function sign(secret: string, parts: SignedParts, seconds: number): string {
  return `${SCHEME} ${seconds}.${mac(secret, parts, seconds).toString("hex")}`;
}

/**
 * Checks a header's value against several secrets, in constant time for each.
 * @param seconds Unix time now.
 * @returns undefined when it is right.
 */
export function faultOf(
  header: string,
  parts: SignedParts,
  { secrets, seconds }: { secrets: readonly string[]; seconds: number },
): SignatureFault | undefined {
  const match = HEADER.exec(header);
  if (!match) return "malformed";
  const signedAt = Number(match[1]);
  const told = Buffer.from(match[2]!, "hex");
  // All secrets are tried, whichever fits: the time taken tells nothing.
  let right = false;
  for (const secret of secrets) right = timingSafeEqual(told, mac(secret, parts, signedAt)) || right;
  if (!right) return "wrong";
  return Math.abs(seconds - signedAt) > WINDOW_SECONDS ? "expired" : undefined;
}

/** Whether a header's value is meant to be a signature. */
export function isSignature(header: string): boolean {
  return header.slice(0, SCHEME.length + 1).toLowerCase() === `${SCHEME.toLowerCase()} `;
}

function mac(secret: string, { method, authority, target }: SignedParts, seconds: number): Buffer {
  return createHmac("sha256", secret).update(`${method}\n${authority}\n${target}\n${seconds}`).digest();
}
