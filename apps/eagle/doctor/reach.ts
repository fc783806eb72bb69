/**
 * Whether the parts that a proxy needs can be reached, and what time they think it is.
 * @module
 */
import { ClusterHttp } from "../../../lib/cluster/cluster-http.ts";
import { clusterAuth } from "../../../lib/cluster/from-config.ts";
import { type ProxyConfig, registryInits } from "../../../lib/config/index.ts";
import { HttpClient, HttpClientError, type HttpRequestInit, type HttpResponse } from "../../../lib/http/client.ts";
import { silentLogger } from "../../../lib/log/log.ts";
import { type Upstream, Upstreams } from "../../../lib/registry/upstreams.ts";
import type { Check, DoctorContext } from "./check.ts";

/** Clocks that differ by more than this are told of, ms; an HTTP date has whole seconds. */
const SKEW_WARN_MS = 30_000;
/** Signatures between parts hold 300 s either way; what comes near that will fail. */
const SKEW_FAIL_MS = 240_000;

interface Client {
  request(url: URL, init?: HttpRequestInit): Promise<HttpResponse>;
}

/** An answer, or why there was none. */
type Reached = { readonly status: number; readonly skewMs: number | undefined } | { readonly error: unknown };

/** Asks registries, seeders and trackers, all at once. */
export async function checkReach(config: ProxyConfig, context: DoctorContext): Promise<Check[]> {
  const { clientCfg, proxyCfg } = config;
  const http = new HttpClient({ connectTimeoutMs: 5000, headersTimeoutMs: 10_000 });
  const cluster = clusterAuth(config.cluster, { advertise: clientCfg.advertise, log: silentLogger });
  const parts = new ClusterHttp(http, cluster);
  const upstreams = new Upstreams({
    origin: proxyCfg.origin,
    origins: proxyCfg.origins,
    registries: registryInits(config.registries),
  }).list();
  const skews: number[] = [];
  const reach = async (client: Client, url: URL, init: HttpRequestInit = {}): Promise<Reached> => {
    const reached = await ask(client, url, { ...init, signal: context.signal }, context.now);
    if ("skewMs" in reached && reached.skewMs !== undefined) skews.push(reached.skewMs);
    return reached;
  };
  const health = (url: URL) => reach(parts, new URL("/healthz", url));
  try {
    const [registries, seeders, trackers] = await Promise.all([
      Promise.all(
        upstreams.map(async (upstream) =>
          registryCheck(
            upstream,
            await reach(http, new URL("/v2/", upstream.base), upstream.ca === undefined ? {} : { ca: upstream.ca }),
          ),
        ),
      ),
      partChecks("seeder", clientCfg.seeders, health),
      partChecks("tracker", clientCfg.trackers.flat(), health),
    ]);
    const clock = skews.length > 0 ? [clockCheck(skews, { signs: config.cluster.secret !== undefined })] : [];
    return [...(registries.length > 0 ? registries : [NO_REGISTRY]), ...seeders, ...trackers, ...clock];
  } finally {
    await http.close();
  }
}

const NO_REGISTRY: Check = {
  name: "registry",
  status: "fail",
  message: "no registry is configured: the proxy answers nothing",
  advice: "set proxyCfg.origin, for example: docker.io",
};

async function ask(client: Client, url: URL, init: HttpRequestInit, now: () => number): Promise<Reached> {
  const sent = now();
  try {
    const { status, headers, body } = await client.request(url, init);
    const at = (sent + now()) / 2;
    body.destroy();
    const date = Date.parse(headers.get("date") ?? "");
    return { status, skewMs: Number.isNaN(date) ? undefined : date + 500 - at };
  } catch (error) {
    return { error };
  }
}

function registryCheck({ name, base }: Upstream, reached: Reached): Check {
  const at = `${name}${base.host === name ? "" : ` (${base.origin})`}`;
  if ("error" in reached) {
    const { why, advice } = explain(reached.error, { name });
    return { name: "registry", status: "fail", message: `${at} cannot be reached: ${why}`, advice };
  }
  if (reached.status === 200 || reached.status === 401)
    return { name: "registry", status: "ok", message: `${at} answers` };
  return {
    name: "registry",
    status: "fail",
    message: `${at} answers ${reached.status} to GET /v2/, which a registry answers with 200 or 401`,
    advice: `check the name, and registries.${name}.upstream`,
  };
}

/** One of several is enough: as long as one lives, a dead one is a warning. */
async function partChecks(
  part: "seeder" | "tracker",
  urls: readonly URL[],
  health: (url: URL) => Promise<Reached>,
): Promise<Check[]> {
  if (urls.length === 0) {
    const message =
      part === "seeder"
        ? "no seeder is configured: each host reads blobs from the registry until another host has them"
        : "no tracker is configured: hosts do not find each other";
    return [{ name: part, status: "warn", message, advice: `set clientCfg.${part}s` }];
  }
  const all = await Promise.all(urls.map(async (url) => ({ url, reached: await health(url) })));
  const lives = ({ reached }: { reached: Reached }) => "status" in reached && reached.status === 200;
  const status = all.some(lives) ? "warn" : "fail";
  return all.map(({ url, reached }): Check => {
    if (lives({ reached })) return { name: part, status: "ok", message: `${url.host} answers` };
    if ("error" in reached) {
      const { why, advice } = explain(reached.error, {});
      return { name: part, status, message: `${url.host} cannot be reached: ${why}`, advice };
    }
    const message = `${url.host} answers ${reached.status} to GET /healthz: is it a ${part} of Eagle?`;
    return { name: part, status, message, advice: `check clientCfg.${part}s` };
  });
}

/** The median: one part with a wrong clock says nothing about this host. */
function clockCheck(skews: number[], { signs }: { signs: boolean }): Check {
  const skew = skews.sort((a, b) => a - b)[skews.length >> 1]!;
  const away = Math.abs(skew);
  const seconds = Math.round(away / 1000);
  if (away < SKEW_WARN_MS)
    return { name: "clock", status: "ok", message: `within ${Math.max(1, seconds)} s of the others'` };
  return {
    name: "clock",
    status: signs && away >= SKEW_FAIL_MS ? "fail" : "warn",
    message: `${seconds} s ${skew > 0 ? "behind" : "ahead of"} the others': signatures and certificates depend on it`,
    advice: "let a time service run (chrony, systemd-timesyncd)",
  };
}

function explain(error: unknown, { name }: { name?: string }): { why: string; advice: string } {
  const cause = error instanceof HttpClientError && error.cause instanceof Error ? error.cause : error;
  const why = cause instanceof Error ? cause.message : String(cause);
  const code = String((cause as { code?: unknown } | null)?.code ?? "");
  if (/ENOTFOUND|EAI_AGAIN/.test(code) || /dns|lookup/i.test(why)) {
    return { why, advice: "its name cannot be resolved: check the name, and this host's DNS" };
  }
  if (/CERT|SELF_SIGNED|ERR_TLS/.test(code) || /certificate/i.test(why)) {
    const key = name === undefined ? "cluster.ca" : `registries.${name}.ca`;
    return { why, advice: `its certificate is not trusted here: give the authority that signed it as ${key}` };
  }
  if (/ECONNREFUSED/.test(code)) return { why, advice: "nothing listens there: is it running, is the port right?" };
  return { why, advice: "check that it runs, and routes and firewalls between this host and it" };
}
