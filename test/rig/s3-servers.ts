/**
 * @module Real S3 servers for tests: OpenStack Swift's s3api (Debian; checks signatures, knows no conditional writes),
 * moto (PyPI; conditional writes, checks no signatures) and, where it is installed, versitygw (Go; both).
 */
import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import type { S3Config } from "../../lib/storage/index.ts";
import { freePort } from "./ports.ts";
import type { Process } from "./processes.ts";
import type { Rig } from "./rig.ts";

/** A running server with an empty bucket. The rig ends it. */
export interface S3Server {
  readonly name: string;
  /** How Eagle is told of it; as `seederCfg.s3` too, but for `endpoint`, which is text there. */
  readonly config: S3Config & { endpoint: URL; accessKeyId: string; secretAccessKey: string };
  readonly process: Process;
}

/** What tests may ask of a server. */
export interface S3ServerKind {
  readonly name: string;
  /** Programs that it needs. */
  readonly tools: readonly string[];
  /** Refuses a wrong signature. */
  readonly checksSignatures: boolean;
  /** Heeds If-None-Match. */
  readonly conditional: boolean;
  start(rig: Rig): Promise<S3Server>;
}

const credentials = { accessKeyId: "test:tester", secretAccessKey: "a-secret-of-tests" };
const bucket = "eagle";

/** moto_server, all in memory. */
export const moto: S3ServerKind = {
  name: "moto",
  tools: ["moto_server"],
  checksSignatures: false,
  conditional: true,
  async start(rig) {
    const port = await freePort();
    const process = rig.processes.start("moto_server", ["-H", "127.0.0.1", "-p", String(port)], { name: "moto" });
    await process.listening(port, { timeoutMs: 60_000 });
    return await withBucket("moto", port, process);
  },
};

/** versitygw over a directory. */
export const versitygw: S3ServerKind = {
  name: "versitygw",
  tools: ["versitygw"],
  checksSignatures: true,
  conditional: true,
  async start(rig) {
    const port = await freePort();
    const root = rig.path("versitygw");
    await mkdir(root);
    const keys = ["--access", credentials.accessKeyId, "--secret", credentials.secretAccessKey];
    const args = ["--port", `127.0.0.1:${port}`, ...keys, "posix", root];
    const process = rig.processes.start("versitygw", args, { name: "versitygw" });
    await process.listening(port);
    return await withBucket("versitygw", port, process);
  },
};

/** One device, one replica, no replicators: account, container, object and proxy server. */
export const swift: S3ServerKind = {
  name: "swift",
  tools: [
    "swift-proxy-server",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
    "swift-ring-builder",
    "memcached",
  ],
  checksSignatures: true,
  conditional: false,
  async start(rig) {
    const root = rig.path("swift");
    await mkdir(`${root}/node/sdb1`, { recursive: true });
    await mkdir(`${root}/cache`);
    await writeFile(`${root}/swift.conf`, "[swift-hash]\nswift_hash_path_suffix = rig\nswift_hash_path_prefix = rig\n");
    const servers: Promise<void>[] = [];
    for (const kind of ["account", "container", "object"]) {
      const port = await freePort();
      await writeFile(`${root}/${kind}.conf`, storageServer(kind, { root, port }));
      const ring = `${root}/${kind}.builder`;
      const build = (...args: string[]) => rig.processes.run("swift-ring-builder", [ring, ...args], { name: "ring" });
      await build("create", "4", "1", "0");
      await build("add", `r1z1-127.0.0.1:${port}/sdb1`, "1");
      await build("rebalance");
      const server = rig.processes.start(`swift-${kind}-server`, [`${root}/${kind}.conf`], {
        name: `swift-${kind}`,
      });
      servers.push(server.listening(port, { timeoutMs: 60_000 }));
    }
    await Promise.all(servers);
    const cachePort = await freePort();
    const cache = ["-u", userInfo().username, "-l", "127.0.0.1", "-p", String(cachePort), "-U", "0"];
    await rig.processes.start("memcached", cache).listening(cachePort);
    const port = await freePort();
    await writeFile(`${root}/proxy.conf`, proxyServer({ root, port, cachePort }));
    const process = rig.processes.start("swift-proxy-server", [`${root}/proxy.conf`, "verbose"], {
      name: "swift-proxy",
    });
    await process.listening(port, { timeoutMs: 60_000 });
    return await withBucket("swift", port, process);
  },
};

/** All of them. */
export const s3Servers: readonly S3ServerKind[] = [swift, moto, versitygw];

function storageServer(kind: string, { root, port }: { root: string; port: number }): string {
  return `[DEFAULT]
swift_dir = ${root}
devices = ${root}/node
mount_check = false
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${userInfo().username}
log_level = WARNING
[pipeline:main]
pipeline = ${kind}-server
[app:${kind}-server]
use = egg:swift#${kind}
recon_cache_path = ${root}/cache
`;
}

function proxyServer({ root, port, cachePort }: { root: string; port: number; cachePort: number }): string {
  const [account, user] = credentials.accessKeyId.split(":");
  return `[DEFAULT]
swift_dir = ${root}
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${userInfo().username}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${cachePort}
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
check_bucket_owner = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_${account}_${user} = ${credentials.secretAccessKey} .admin
[filter:slo]
use = egg:swift#slo
rate_limit_after_segment = 100000
`;
}

async function withBucket(name: string, port: number, process: Process): Promise<S3Server> {
  const endpoint = new URL(`http://127.0.0.1:${port}`);
  const { CreateBucketCommand, S3Client } = await import("@aws-sdk/client-s3");
  const client = new S3Client({
    endpoint: endpoint.href,
    region: "us-east-1",
    forcePathStyle: true,
    // A copy: the SDK writes into it.
    credentials: { ...credentials },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } catch (error) {
    throw new Error(`no bucket at ${name}:\n${process.output.slice(-3000)}`, { cause: error });
  } finally {
    client.destroy();
  }
  const config = { ...credentials, endpoint, bucket, prefix: "blobs", region: "us-east-1", pathStyle: true };
  return { name, config, process };
}
