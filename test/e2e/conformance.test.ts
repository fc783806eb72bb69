/**
 * @module The OCI's own conformance tests, against a proxy before a real registry. Whatever the registry itself passes
 * must pass through the proxy, pushes included; what is read must pass without exception.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { conformanceTool, goTool } from "../rig/go-tools.ts";
import { blobsOf } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

// Go is no package of CI's; where it is missing, so is this test.
const tool = need({ tools: ["docker-registry"] }) === false ? await goTool(conformanceTool) : undefined;
const skip = need({ tools: ["docker-registry"] }) || (tool && "missing" in tool ? tool.missing : false);

/** The empty blob is answered by the proxy itself, so no repository ever seems to lack it, not after its deletion either. */
const byDesign = /^sha(?:256|512) blobs\/empty(?:\/blob-delete)?$/;

/** Statuses of single tests (`Pass`, `FAIL`, ...), by their names without digests. */
type Results = Map<string, Set<string>>;

describe("OCI distribution conformance", { skip }, () => {
  let rig: Rig;
  let cluster: Cluster;

  before(async () => {
    rig = await Rig.create();
    cluster = await startCluster(rig, { proxies: 1 });
  });
  after(() => rig.close());

  async function run(name: string, registry: URL, env: Record<string, string>): Promise<Results> {
    const results = rig.path(`conformance-${name}`);
    const settings = { OCI_REGISTRY: registry.host, OCI_TLS: "disabled", OCI_RESULTS_DIR: results, OCI_VERSION: "1.1" };
    const child = rig.processes.start((tool as { path: string }).path, [], {
      name,
      cwd: rig.dir,
      env: { ...settings, ...env },
    });
    const timer = setTimeout(() => child.kill(), 120_000);
    await child.exited;
    clearTimeout(timer);
    const all: Results = new Map();
    for (const [, name = "", status = ""] of child.output.matchAll(/^ *OCI Conformance Test\/(.+): (\w+)$/gm)) {
      const title = name.replace(/sha(256|512):[0-9a-f]+/g, "sha$1:...");
      all.set(title, (all.get(title) ?? new Set()).add(status));
    }
    assert.ok(all.size > 0, `no report:\n${child.output.slice(-3000)}`);
    return all;
  }

  const titles = (results: Results, ...wanted: string[]) =>
    [...results].filter(([, statuses]) => wanted.some((status) => statuses.has(status))).map(([title]) => title);

  function assertNoWorse(through: Results, straight: Results): void {
    const known = new Set(titles(straight, "FAIL", "Error"));
    const worse = titles(through, "FAIL", "Error").filter((title) => !known.has(title) && !byDesign.test(title));
    assert.deepEqual(worse, [], "these fail through the proxy alone");
    const passed = titles(straight, "Pass").filter((title) => !known.has(title) && !byDesign.test(title));
    assert.deepEqual(
      passed.filter((title) => !titles(through, "Pass").includes(title)),
      [],
      "these do not pass",
    );
  }

  test("through the proxy passes whatever passes straight at the registry", async () => {
    const repositories = (name: string) => ({ OCI_REPO1: `${name}/one`, OCI_REPO2: `${name}/two` });
    const straight = await run("straight", cluster.registry.url, repositories("straight"));
    const through = await run("through", cluster.proxy().url, repositories("through"));
    assertNoWorse(through, straight);
    assert.ok(titles(through, "Pass").length > 100, `${titles(through, "Pass").length} passed`);
  });

  test("reading what the registry had before", async () => {
    const image = await cluster.pushImage("library/conformance", [{ size: 4096 }, { size: 5_000_000 }]);
    const off = ["PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE", "BLOBS_MOUNT_ANONYMOUS"];
    const env = {
      OCI_REPO1: image.repository,
      OCI_REPO2: image.repository,
      ...Object.fromEntries(off.map((api) => [`OCI_API_${api}`, "false"])),
      OCI_API_BLOBS_DIGEST_HEADER: "true",
      OCI_RO_DATA_TAGS: image.tag,
      OCI_RO_DATA_MANIFESTS: image.manifest.digest,
      OCI_RO_DATA_BLOBS: blobsOf(image)
        .map(({ digest }) => digest)
        .join(" "),
    };
    const straight = await run("reading-straight", cluster.registry.url, env);
    const through = await run("reading-through", cluster.proxy().url, env);
    assertNoWorse(through, straight);
    for (const what of ["blob-head", "blob-get", "manifest-by-digest", "manifest-by-tag"]) {
      assert.ok(
        titles(through, "Pass").some((title) => title.endsWith(what)),
        `${what}: ${[...through.keys()]}`,
      );
    }
  });
});
