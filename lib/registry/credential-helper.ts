/**
 * Credentials from a helper program of docker: `docker-credential-<name> get`, the server's address on its standard
 * input, JSON on its standard output.
 * @module
 */
import { spawn } from "node:child_process";
import type { Credentials } from "./auth.ts";

/** A helper could not be asked, or its answer makes no sense. The message holds nothing of what it said. */
export class CredentialHelperError extends Error {
  override readonly name = "CredentialHelperError";
  readonly code: "missing" | "timeout" | "failed" | "malformed";
  constructor(code: CredentialHelperError["code"], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

const MAX_OUTPUT = 64 * 1024;

/** Whether it may be the name of a helper: it becomes a part of a command. */
export function isHelperName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name);
}

/**
 * Runs a helper.
 * @param helper without `docker-credential-`
 * @param server as docker names it: a host, or `https://index.docker.io/v1/`
 * @returns undefined when it has none for this server
 * @throws CredentialHelperError
 */
export async function askCredentialHelper(
  helper: string,
  server: string,
  { timeoutMs = 10_000, env = process.env }: { timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Credentials | undefined> {
  const command = `docker-credential-${helper}`;
  if (!isHelperName(helper)) throw new CredentialHelperError("missing", "the name of a credential helper is malformed");
  const { code, output } = await run(command, server, { timeoutMs, env });
  if (code !== 0) {
    if (/credentials not found/i.test(output)) return undefined;
    throw new CredentialHelperError("failed", `${command} get ended with ${code} for ${server}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw new CredentialHelperError("malformed", `${command} get: the answer for ${server} is not JSON`);
  }
  const { Username: username, Secret: password } = (value ?? {}) as { Username?: unknown; Secret?: unknown };
  if (typeof username !== "string" || typeof password !== "string") {
    throw new CredentialHelperError("malformed", `${command} get: the answer for ${server} has no Username and Secret`);
  }
  return username === "" || password === "" ? undefined : { username, password };
}

function run(
  command: string,
  input: string,
  { timeoutMs, env }: { timeoutMs: number; env: NodeJS.ProcessEnv },
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, ["get"], { stdio: ["pipe", "pipe", "ignore"], env });
    const chunks: Buffer[] = [];
    let length = 0;
    const fail = (error: CredentialHelperError) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new CredentialHelperError("timeout", `${command} get did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    child.on("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT";
      const why = missing ? "is not installed (not in PATH)" : "cannot be started";
      fail(new CredentialHelperError(missing ? "missing" : "failed", `${command} ${why}`, { cause }));
    });
    child.stdout.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_OUTPUT) fail(new CredentialHelperError("malformed", `${command} get says too much`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output: Buffer.concat(chunks).toString("utf8") });
    });
    // A helper that reads nothing and ends is no trouble of ours.
    child.stdin.on("error", () => {});
    child.stdin.end(`${input}\n`);
  });
}
