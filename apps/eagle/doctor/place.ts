/**
 * This host: room for blobs, ports, certificates.
 * @module
 */
import { X509Certificate } from "node:crypto";
import { mkdtemp, rmdir, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { formatBytes } from "../../../lib/cli/quantities.ts";
import { minFreeBytes, type ProxyConfig, type TextFile } from "../../../lib/config/index.ts";
import { HttpClient } from "../../../lib/http/client.ts";
import type { Check, DoctorContext } from "./check.ts";

const DAY_MS = 86_400_000;
/** A certificate that ends sooner is told of. */
const RENEW_DAYS = 30;

/** Whether blobs can be kept where the configuration says. */
export async function checkDisk({ clientCfg }: ProxyConfig): Promise<Check[]> {
  const { rootDirectory, limitSize, minFree } = clientCfg;
  const name = "disk";
  const found = await nearest(resolve(rootDirectory));
  if ("error" in found) {
    const message = `${rootDirectory} cannot be written to: ${found.error}`;
    return [
      { name, status: "fail", message, advice: "choose another clientCfg.rootDirectory, or let this user write there" },
    ];
  }
  const { bavail, blocks, bsize } = await statfs(found.directory);
  const [free, total] = [bavail * bsize, blocks * bsize];
  const kept = minFreeBytes(minFree, total);
  if (free <= kept) {
    return [
      {
        name,
        status: "fail",
        message: `${rootDirectory}: ${formatBytes(free)} free, and ${formatBytes(kept)} are to stay free (clientCfg.minFree): nothing new is kept`,
        advice: "free some space, choose another clientCfg.rootDirectory, or lower clientCfg.minFree",
      },
    ];
  }
  const message = `${rootDirectory} can be written to, ${formatBytes(free)} free`;
  if (limitSize > total) {
    const over = `${message}; clientCfg.limitSize (${formatBytes(limitSize)}) is more than the whole disk`;
    return [
      {
        name,
        status: "warn",
        message: over,
        advice: "lower clientCfg.limitSize; until then minFree alone bounds the cache",
      },
    ];
  }
  return [{ name, status: "ok", message }];
}

/** The directory, or the nearest one above it that is there; tried by making something in it. */
async function nearest(directory: string): Promise<{ directory: string } | { error: string }> {
  try {
    await rmdir(await mkdtemp(join(directory, ".eagle-doctor-")));
    return { directory };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (missing && dirname(directory) !== directory) return await nearest(dirname(directory));
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

/** Whether the proxy runs; where not, whether its ports are free. */
export async function checkPorts({ clientCfg, proxyCfg }: ProxyConfig, { signal }: DoctorContext): Promise<Check[]> {
  const secure = proxyCfg.certFile !== undefined;
  const url = new URL(`${secure ? "https" : "http"}://${authority(proxyCfg.host, proxyCfg.port)}/`);
  const greeting = await greetingOf(url, { ca: proxyCfg.certFile?.content, signal });
  if (greeting?.startsWith("Eagle")) return [{ name: "proxy", status: "ok", message: `runs at ${url.origin}` }];
  const wanted = [
    { key: "proxyCfg.port", host: proxyCfg.host, port: proxyCfg.port },
    { key: "clientCfg.peerPort", host: clientCfg.peerHost, port: clientCfg.peerPort },
    ...(clientCfg.bittorrent ? [{ key: "clientCfg.port", host: clientCfg.peerHost, port: clientCfg.port }] : []),
  ];
  const taken: Check[] = [];
  for (const { key, host, port } of wanted) {
    const why = await bindError(host, port);
    if (why === undefined) continue;
    const message =
      why === "EADDRINUSE"
        ? `${host}:${port} is taken by another program`
        : `${host}:${port} cannot be listened at (${why})`;
    taken.push({ name: "port", status: "fail", message, advice: `end that program, or choose another ${key}` });
  }
  const status = taken.length > 0 ? "fail" : "warn";
  const advice = "start it: eagle proxy --config FILE";
  return [{ name: "proxy", status, message: `does not answer at ${url.origin}`, advice }, ...taken];
}

async function greetingOf(
  url: URL,
  { ca, signal }: { ca: string | undefined; signal: AbortSignal },
): Promise<string | undefined> {
  const http = new HttpClient({ connectTimeoutMs: 2000, headersTimeoutMs: 5000 });
  try {
    const { body } = await http.request(url, { signal, ...(ca === undefined ? {} : { ca }) });
    for await (const chunk of body as AsyncIterable<Buffer>) return chunk.subarray(0, 100).toString("utf8");
  } catch {
    // Whatever it is, it is no proxy.
  } finally {
    await http.close();
  }
  return undefined;
}

/** The code of the error that listening there gives, undefined when it can be done. */
function bindError(host: string, port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(undefined)));
  });
}

/** Where a client of this host finds what listens at `host`. */
function authority(host: string, port: number): string {
  if (host === "0.0.0.0") return `127.0.0.1:${port}`;
  if (host === "::") return `[::1]:${port}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Certificates that have ended, or soon will. */
export function checkCertificates({ proxyCfg, cluster }: ProxyConfig, { now }: DoctorContext): Check[] {
  const files: readonly (readonly [key: string, file: TextFile | undefined])[] = [
    ["proxyCfg.certFile", proxyCfg.certFile],
    ["proxyCfg.interceptCertFile", proxyCfg.interceptCertFile],
    ["cluster.ca", cluster.ca],
    ["cluster.certFile", cluster.certFile],
  ];
  return files.flatMap(([key, file]): Check[] => {
    if (!file) return [];
    const left = Math.floor((Date.parse(new X509Certificate(file.content).validTo) - now()) / DAY_MS);
    const what = `${file.path} (${key})`;
    if (left < 0)
      return [{ name: "certificate", status: "fail", message: `${what} is no longer valid`, advice: "replace it" }];
    if (left < RENEW_DAYS) {
      return [
        { name: "certificate", status: "warn", message: `${what} ends in ${left} days`, advice: "replace it before" },
      ];
    }
    return [{ name: "certificate", status: "ok", message: `${what} holds for ${left} days` }];
  });
}
