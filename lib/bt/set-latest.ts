/**
 * A map as a bounded memory of what was set last.
 * @module
 */

/** Sets an entry as the latest; the oldest leave where there are more than `max`. */
export function setLatest<K, V>(map: Map<K, V>, key: K, value: V, max: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= max) break;
    map.delete(oldest);
  }
}
