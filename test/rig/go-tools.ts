/**
 * @module Programs that come as Go modules: built where Go is on the machine, kept for later runs.
 */
import { execFile } from "node:child_process";
import { access, constants, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

/** A program of a Go module, at one version, so that a new release cannot turn a test red. */
export interface GoTool {
  /** The last part of the package's path: what the program is called. */
  name: string;
  /** `module/path/to/package@version` */
  package: string;
}

/** The registry conformance tests of the OCI distribution-spec. */
export const conformanceTool: GoTool = {
  name: "conformance",
  package: "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111",
};

/** crane, of go-containerregistry. */
export const craneTool: GoTool = {
  name: "crane",
  package: "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
};

/** Where Go's own installer puts it, which is seldom in PATH. */
const goDirectory = "/usr/local/go/bin";

/**
 * Finds or builds the program.
 * @returns its path, or why it cannot be had: no Go, no module proxy, too slow.
 */
export async function goTool(
  tool: GoTool,
  { timeoutMs = 240_000 }: { timeoutMs?: number } = {},
): Promise<{ path: string } | { missing: string }> {
  const version = tool.package.slice(tool.package.lastIndexOf("@") + 1);
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "eagle", "go", version);
  const built = join(cache, tool.name);
  const isBuilt = await access(built, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (isBuilt) return { path: built };
  const run = promisify(execFile);
  const path = [...(process.env.PATH ?? "").split(delimiter), goDirectory].join(delimiter);
  try {
    await mkdir(cache, { recursive: true });
    const env = { ...process.env, PATH: path, GOBIN: cache, GOFLAGS: "-modcacherw" };
    await run("go", ["install", tool.package], { timeout: timeoutMs, env });
    return { path: built };
  } catch (error) {
    const { code, stderr = "" } = error as NodeJS.ErrnoException & { stderr?: string };
    const why = code === "ENOENT" ? "Go is not installed" : `go install ${tool.package} failed: ${stderr.slice(-500)}`;
    return { missing: `${tool.name} is not there: ${why}` };
  }
}
