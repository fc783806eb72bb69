/** @module `eagle doctor` on a host that is well, and on one that is not. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { Check } from "../doctor/check.ts";
import { eagle } from "../testing/run-eagle.ts";
import { smallWorld } from "../testing/small-world.ts";
import { tempDirectory } from "../testing/temp-directory.ts";

async function examine(config: object, root: string): Promise<{ code: number | null; ok: boolean; checks: Check[] }> {
  const file = join(root, "proxy.yaml");
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config));
  const { code, stdout, stderr } = await eagle(["doctor", "--config", file, "--root", root, "--json"]);
  assert.equal(stderr, "");
  return { code, ...(JSON.parse(stdout) as { ok: boolean; checks: Check[] }) };
}

/** A server that only answers what it is told to. */
async function answering(status: number, headers: Record<string, string> = {}) {
  const server = createServer((_, response) => response.writeHead(status, headers).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const of = (checks: readonly Check[], name: string) => checks.filter((check) => check.name === name);

test("a host that is well", async () => {
  await using world = await smallWorld();
  await using directory = await tempDirectory();
  const { cluster, origin } = world;
  const proxy = new URL(cluster.proxies[0]!.url);
  const root = directory.path;
  const conf = join(root, "etc/containers/registries.conf.d");
  await mkdir(conf, { recursive: true });
  await writeFile(
    join(conf, "eagle.conf"),
    `[[registry]]\nlocation = "${origin.authority}"\n[[registry.mirror]]\nlocation = "${proxy.host}"\n`,
  );
  const { code, ok, checks } = await examine(
    {
      clientCfg: {
        trackers: new URL(cluster.tracker.url).host,
        seeders: new URL(cluster.seeder.url).host,
        rootDirectory: join(root, "data"),
        limitSize: "1M",
        minFree: 0,
      },
      proxyCfg: { port: Number(proxy.port), origin: origin.authority },
    },
    root,
  );
  assert.deepEqual([code, ok], [0, true], JSON.stringify(checks, undefined, 1));
  for (const name of ["configuration", "disk", "proxy", "registry", "seeder", "tracker", "clock", "podman"]) {
    assert.deepEqual(
      of(checks, name).map(({ status }) => status),
      ["ok"],
      name,
    );
  }
});

test("a host that is not", async () => {
  await using directory = await tempDirectory();
  await using other = await answering(404, { date: "Thu, 01 Jan 2026 00:00:00 GMT" });
  await using living = await answering(200);
  const root = directory.path;
  await mkdir(join(root, "etc/docker"), { recursive: true });
  await writeFile(join(root, "etc/docker/daemon.json"), '{"registry-mirrors": [');
  await writeFile(join(root, "file"), "");
  const { code, checks } = await examine(
    {
      clientCfg: {
        seeders: ["127.0.0.1:1", living.host],
        trackers: "127.0.0.1:1",
        rootDirectory: join(root, "file/data"),
        peerPort: 0,
        port: 0,
      },
      proxyCfg: { port: Number(other.host.split(":")[1]), origin: other.host },
    },
    root,
  );
  assert.equal(code, 1);
  const found = (name: string) =>
    of(checks, name)
      .map(({ status, message }) => `${status} ${message}`)
      .join("\n");
  assert.match(found("disk"), /^fail .*cannot be written to/);
  assert.match(found("port"), /^fail .*is taken by another program/);
  assert.match(found("registry"), /^fail .*answers 404 to GET \/v2\//);
  assert.match(found("seeder"), /^warn 127\.0\.0\.1:1 cannot be reached.*\nok /, "one that lives is enough");
  assert.match(found("tracker"), /^fail /);
  assert.match(found("docker"), /^fail .*is no JSON/);
  for (const { status, advice } of checks) assert.ok(status === "ok" || status === "warn" || advice !== "", "advice");
});

test("a configuration that is refused, and text for people", async () => {
  await using directory = await tempDirectory();
  const { checks } = await examine({ proxyCfg: { prot: 1 } }, directory.path);
  assert.deepEqual(
    checks.map(({ name, status }) => [name, status]),
    [["configuration", "fail"]],
  );
  const { code, stdout } = await eagle(["doctor", "--config", join(directory.path, "proxy.yaml")]);
  assert.equal(code, 1);
  assert.match(stdout, /^FAILED {2}configuration {2}.*prot.*\n.*-> docs\/configuration\.md/);
});
