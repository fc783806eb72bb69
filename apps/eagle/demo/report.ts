/**
 * What the demo showed: who gave how much to whom, and whether that is as it should be.
 * @module
 */
import { formatBytes } from "../../../lib/cli/quantities.ts";
import { renderTable } from "../../../lib/cli/table.ts";
import type { Descriptor } from "../pull/manifest.ts";

/** What was counted. */
export interface Counts {
  /** Config and layers of the image. */
  readonly blobs: readonly Descriptor[];
  /** Bytes of blobs that the origin sent, by digest. */
  readonly sent: ReadonlyMap<string, number>;
  /** Bytes that came in, by source: of the seeder, and of each proxy in the order of the pulls. */
  readonly seeder: Readonly<Record<string, number>>;
  readonly proxies: readonly Readonly<Record<string, number>>[];
}

const SOURCES = ["peer", "seeder", "origin"] as const;
const COLUMNS = ["from peers", "from the seeder", "from the origin", "in all"];

/** Bytes by source, one line each for seeder and proxies, and what the origin sent. */
export function renderReport({ blobs, sent, seeder, proxies }: Counts): string {
  const row = (name: string, bytes: Readonly<Record<string, number>>) => {
    const counts = SOURCES.map((source) => bytes[source] ?? 0);
    return [name, ...[...counts, counts.reduce((sum, count) => sum + count, 0)].map(formatBytes)];
  };
  const rows = [row("seeder", seeder), ...proxies.map((bytes, index) => row(`proxy ${index + 1}`, bytes))];
  const table = renderTable(rows, { header: ["", ...COLUMNS], align: ["left", "right", "right", "right", "right"] });
  const whole = sumOf(blobs.map(({ size }) => size));
  const given = sumOf(sent.values());
  const hosts = proxies.length;
  return `${table}\nThe origin sent ${formatBytes(given)} of blobs: ${(given / whole).toFixed(2)} times the image, for ${hosts} hosts.\n`;
}

/** What is not as it should be, a sentence each; empty when all is well. */
export function faultsOf({ blobs, sent, proxies }: Counts): string[] {
  const faults = blobs
    .filter(({ digest, size }) => (sent.get(digest) ?? 0) > size)
    .map(({ digest, size }) => `The origin sent ${sent.get(digest)} bytes of ${digest}, which has ${size}.`);
  for (const [index, bytes] of proxies.entries()) {
    if (index > 0 && (bytes.origin ?? 0) > 0)
      faults.push(`Proxy ${index + 1} took ${bytes.origin} bytes from the origin.`);
  }
  return faults;
}

function sumOf(numbers: Iterable<number>): number {
  let sum = 0;
  for (const number of numbers) sum += number;
  return sum;
}
