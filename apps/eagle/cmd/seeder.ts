/**
 * `eagle seeder`: the same as apps/seeder.
 * @module
 */
import { run as runSeeder } from "../../seeder/cmd/cmd.ts";

/** Goes on in the background; sets the exit code itself. */
export async function run(args: readonly string[]): Promise<undefined> {
  await runSeeder(args, { command: "eagle seeder" });
}
