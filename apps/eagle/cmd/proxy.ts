/**
 * `eagle proxy`: the same as apps/proxy.
 * @module
 */
import { run as runProxy } from "../../proxy/cmd/cmd.ts";

/** Goes on in the background; sets the exit code itself. */
export async function run(args: readonly string[]): Promise<undefined> {
  await runProxy(args, { command: "eagle proxy" });
}
