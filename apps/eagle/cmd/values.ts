/**
 * Values of flags that are more than text. Each throws a UsageError that names the flag.
 * @module
 */
import { UsageError } from "../../../lib/cli/flags.ts";
import { parseSize } from "../../../lib/config/index.ts";

/** What a value belongs to, for the message. */
export interface FlagName {
  /** `eagle up` */
  readonly command: string;
  /** `--port` */
  readonly flag: string;
}

/** A port to listen at; 0: any free one. @throws UsageError */
export function portValue(text: string, at: FlagName): number {
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65535) throw wrong(at, text, "a port, 0 to 65535");
  return Number(text);
}

/** Bytes. @throws UsageError */
export function sizeValue(text: string, { min, max, ...at }: FlagName & { min: number; max: number }): number {
  const bytes = parsed(text, at, () => parseSize(text));
  if (bytes < min || bytes > max) throw wrong(at, text, `between ${min} and ${max} bytes`);
  return bytes;
}

/** Whatever `parse` makes of it. @throws UsageError with the message of what `parse` threw */
export function parsed<T>(text: string, { command, flag }: FlagName, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError(
      `${command}: ${flag}: ${error instanceof Error ? error.message : String(error)}\nTry: ${command} --help`,
    );
  }
}

function wrong({ command, flag }: FlagName, text: string, expected: string): UsageError {
  return new UsageError(`${command}: ${flag}: ${JSON.stringify(text)} is not ${expected}\nTry: ${command} --help`);
}
