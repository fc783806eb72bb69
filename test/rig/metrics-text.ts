/**
 * @module Reads the Prometheus text format (version 0.0.4), as far as counters and gauges go.
 */

/** One line of it. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads all samples; comments and lines that are no sample are left out. */
export function parseMetrics(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (match === null) return [];
    const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]);
    return [{ name: match[1]!, labels: Object.fromEntries(labels) as Record<string, string>, value: Number(match[3]) }];
  });
}

/** Adds up the samples of a name that carry these labels. */
export function sumOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  return samples
    .filter((sample) => sample.name === name || sample.name === `${name}_total`)
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0);
}
