/**
 * The names by which engines call the registries of a configuration.
 * @module
 */
import { canonicalRegistry } from "./reference.ts";

/**
 * Each name once, the default registry's first.
 * @param init.origin `host[:port]` or URL, as in `proxyCfg.origin`
 * @param init.origins the same
 * @param init.others Names already: the keys of `registries`, of which `_default` is none.
 */
export function registryNames({
  origin,
  origins = [],
  others = [],
}: {
  origin?: string | undefined;
  origins?: readonly string[];
  others?: readonly string[];
}): string[] {
  const named = others.filter((name) => name !== "_default");
  const all = [...(origin === undefined ? [] : [origin]), ...origins, ...named];
  return [...new Set(all.map((text) => canonicalRegistry(text.replace(/^https?:\/\//, ""))))];
}
