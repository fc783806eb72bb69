/**
 * What the doctor finds, and how it says so.
 * @module
 */
import { renderTable } from "../../../lib/cli/table.ts";

/** One finding. */
export interface Check {
  /** What was looked at, a word or two. */
  readonly name: string;
  /** `fail`: pulls through Eagle do not work, or soon will not; `warn`: they work, but not as they could. */
  readonly status: "ok" | "warn" | "fail";
  /** What was found. */
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** What a doctor may use. */
export interface DoctorContext {
  /** Where `/etc` and `/usr` are. */
  readonly root: string;
  /** Ends every wait. */
  readonly signal: AbortSignal;
  /** The wall clock, ms since 1970. */
  readonly now: () => number;
}

/** The findings for people, a line each and one for what to do; ends with a line break. */
export function renderChecks(checks: readonly Check[]): string {
  const words = { ok: "ok", warn: "warning", fail: "FAILED" } as const;
  const rows = checks.flatMap(({ name, status, message, advice }) => [
    [words[status], name, message],
    ...(advice === undefined ? [] : [["", "", `-> ${advice}`]]),
  ]);
  const count = (status: Check["status"]) => checks.filter((check) => check.status === status).length;
  const [fails, warnings] = [count("fail"), count("warn")];
  const end =
    fails > 0
      ? `${fails} of ${checks.length} checks failed.`
      : warnings > 0
        ? "It works; the warnings tell what could be better."
        : "All is well.";
  return `${renderTable(rows)}\n${end}\n`;
}
