/**
 * What a running app took in, by source.
 * @module
 */
import type { Metrics } from "../../../lib/metrics/metrics.ts";

/** Bytes that came in so far, by where they came from: peer, seeder, origin, wire. */
export async function receivedBySource({ bytes }: Pick<Metrics, "bytes">): Promise<Record<string, number>> {
  const { values } = await bytes.get();
  const sources: Record<string, number> = {};
  for (const { labels, value } of values) {
    if (labels.direction === "in" && labels.source !== undefined) sources[labels.source] = value;
  }
  return sources;
}
