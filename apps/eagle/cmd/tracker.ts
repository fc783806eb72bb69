/**
 * `eagle tracker`: the same as apps/tracker.
 * @module
 */
import { run as runTracker } from "../../tracker/cmd/cmd.ts";

/** Goes on in the background; sets the exit code itself. */
export async function run(args: readonly string[]): Promise<undefined> {
  await runTracker(args, { command: "eagle tracker" });
}
