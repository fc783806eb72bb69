/**
 * Where blobs are kept when nobody says where.
 * @module
 */
import { constants } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/**
 * `/data/bt` where this user may write there (it is made if need be), else `eagle` in the user's data directory (XDG
 * Base Directory Specification: `$XDG_DATA_HOME`, else `~/.local/share`).
 */
export async function dataDirectory({
  system = "/data/bt",
  home = homedir(),
  xdgDataHome = process.env.XDG_DATA_HOME,
}: {
  system?: string;
  home?: string;
  xdgDataHome?: string | undefined;
} = {}): Promise<string> {
  try {
    await mkdir(system, { recursive: true });
    await access(system, constants.W_OK | constants.X_OK);
    return system;
  } catch {
    const data = xdgDataHome !== undefined && isAbsolute(xdgDataHome) ? xdgDataHome : join(home, ".local", "share");
    return join(data, "eagle");
  }
}
