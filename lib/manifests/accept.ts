/**
 * The `Accept` of a request for a manifest (RFC 9110, 12.5.1): which media types may answer it. A registry may give one
 * tag different manifests to clients that accept different types, so it is also a part of what an answer is kept under.
 * @module
 */
import { createHash } from "node:crypto";

/** See the module. */
export interface Accept {
  /** As it is sent on; undefined: the client sent none. */
  readonly header: string | undefined;
  /** The same for headers that say the same, whatever their order and spelling. Of bounded length. */
  readonly key: string;
  /** Whether an answer of this type is one that was asked for. @param mediaType of a Content-Type, parameters and all */
  admits(mediaType: string): boolean;
}

/** Ranges that are looked at; engines send four to ten. */
const MAX_RANGES = 64;
const MAX_KEY = 512;

/** The media type without its parameters, lower case. */
export function bareType(mediaType: string): string {
  return mediaType.split(";", 1)[0]!.trim().toLowerCase();
}

/** @param header `Accept`; several fields joined by commas. None: anything may answer, as RFC 9110 has it. */
export function parseAccept(header: string | null): Accept {
  const ranges = (header ?? "")
    .toLowerCase()
    .split(",", MAX_RANGES)
    .map((range) => range.replace(/\s/g, ""))
    .filter((range) => range !== "");
  const text = [...new Set(ranges)].sort().join(",");
  const types = new Set(ranges.filter((range) => !isRefused(range)).map(bareType));
  return {
    header: header ?? undefined,
    key: text.length > MAX_KEY ? createHash("sha256").update(text).digest("base64url") : text,
    admits(mediaType) {
      const type = bareType(mediaType);
      return types.has(type) || ranges.length === 0 || types.has("*/*") || types.has(`${type.split("/", 1)[0]}/*`);
    },
  };
}

function isRefused(range: string): boolean {
  return /;q=0(?:\.0{0,3})?(?:;|$)/.test(range);
}
