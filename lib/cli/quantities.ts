/**
 * Bytes and durations for people to read.
 *
 * @module
 */

/** Three figures and a binary unit. @example formatBytes(1610612736) // "1.50 GiB" */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let count = Math.max(0, bytes);
  // 999.5 would already round to 1000.
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1024;
    unit++;
  }
  const digits = unit === 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2;
  return `${count.toFixed(digits)} ${units[unit]}`;
}

/** @example formatDuration(500) // "0.5s"; formatDuration(65_000) // "1m05s"; formatDuration(3_720_000) // "1h02m" */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms >= 360_000_000) return "--";
  if (ms < 9950) return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  const two = (count: number) => String(count).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${two(Math.floor((seconds % 3600) / 60))}m`;
}
