/**
 * @module Which outside programs a test needs, and what to do when one is missing: a skip on a developer's machine, a
 * failure in CI (a green run that proved nothing would be worse than a red one).
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Directories that hold daemons and are often not in a user's PATH. */
const systemDirectories = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/**
 * Finds a program.
 * @param name - a bare command name, such as `skopeo`.
 * @returns its path, or undefined.
 */
export function findTool(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(delimiter), ...systemDirectories];
  return directories
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** What a test that uses outside programs needs. */
export interface Needs {
  /** Command names. */
  tools: readonly string[];
  /** Engines with their own data root and mounts need root. */
  root?: boolean;
  /** Skip in CI too: no package brings the tools there. */
  optional?: boolean;
}

/**
 * Tells node:test whether to skip.
 * @returns false when all is there, else the reason, for `test(name, { skip: need(...) }, ...)`.
 * @throws Error with the same reason where the environment says `CI=true`.
 * @example test("podman pulls", { skip: need({ tools: ["podman"], root: true }) }, async () => {});
 */
export function need({ tools, root = false, optional = false }: Needs): string | false {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  const reasons = missing.map((tool) => `${tool} is not installed`);
  if (root && process.getuid?.() !== 0) reasons.push("not root");
  if (reasons.length === 0) return false;
  const reason = reasons.join(", ");
  if (process.env.CI === "true" && !optional)
    throw new Error(`CI=true and ${reason}: .ci/run should have seen to that`);
  return reason;
}
