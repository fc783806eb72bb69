/**
 * The URL of a manifest, as a seeder is asked.
 * @module
 */
import { parsePath } from "../registry/reference.ts";
import type { Upstreams } from "../registry/upstreams.ts";
import type { Place } from "./manifest.ts";

/** What a URL names, or why it does not. */
export type LocatedManifest =
  | { readonly kind: "manifest"; readonly place: Place; readonly reference: string }
  | { readonly kind: "malformed" }
  | { readonly kind: "not_allowed" };

const MAX_URL = 4096;

/** @param url Whole URL of a manifest at one of the registries. */
export function locateManifest(url: string, upstreams: Upstreams): LocatedManifest {
  const parsed = url.length > MAX_URL ? null : URL.parse(url);
  const path = parsed && parsePath(parsed.pathname);
  if (!parsed || path?.kind !== "manifest") return { kind: "malformed" };
  const upstream = upstreams.byUrl(parsed);
  if (!upstream) return { kind: "not_allowed" };
  return { kind: "manifest", place: { upstream, repository: path.repository }, reference: path.reference };
}
