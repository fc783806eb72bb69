/**
 * Tests of loading: defaults, files, messages.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ConfigError } from "./errors.ts";
import { loadConfig } from "./load.ts";
import { proxyConfigSchema } from "./proxy.ts";
import { registryInits } from "./registries.ts";
import { seederConfigSchema } from "./seeder.ts";
import { trackerConfigSchema } from "./tracker.ts";

let dir = "";
before(() => {
  dir = mkdtempSync(join(tmpdir(), "eagle-config-"));
});
after(() => rmSync(dir, { recursive: true }));

function write(text: string | Uint8Array): string {
  const file = join(dir, "proxy.yaml");
  writeFileSync(file, text);
  return file;
}

const proxy = (object: Record<string, unknown>) => loadConfig(proxyConfigSchema, { app: "proxy", object });
const proxyYaml = (text: string) => loadConfig(proxyConfigSchema, { app: "proxy", file: write(text) });

/** The refusal of a YAML text. */
function refusal(text: string | Uint8Array): ConfigError {
  try {
    loadConfig(proxyConfigSchema, { app: "proxy", file: write(text) });
  } catch (error) {
    assert.equal((error as ConfigError).name, "ConfigError");
    return error as ConfigError;
  }
  throw new Error("was not refused");
}

test("defaults of the proxy", () => {
  const { clientCfg, proxyCfg, registries } = loadConfig(proxyConfigSchema, { app: "proxy" });
  assert.deepEqual(clientCfg, {
    port: 61007,
    peerPort: 61006,
    peerHost: "0.0.0.0",
    bittorrent: true,
    trackers: [],
    seeders: [],
    rootDirectory: "/data/bt/proxy",
    limitSize: 100 * 1024 ** 3,
    minFree: { percent: 5 },
    scrubRate: 4 * 1024 ** 2,
    downloadRateLimit: 0,
    uploadRateLimit: 0,
    downloadTimeout: 30,
    firstByteTimeout: 5,
    dialTimeout: 5,
    headerTimeout: 30,
    policy: "round_robin",
  });
  const { allowClients, ...rest } = proxyCfg;
  assert.deepEqual(allowClients.rules, ["loopback"]);
  assert.deepEqual(rest, {
    host: "127.0.0.1",
    port: 43002,
    origins: [],
    rules: [],
    verbose: false,
    staleTags: true,
    authorize: "private",
    connectPorts: [443],
    intercept: [],
  });
  assert.deepEqual(registries, {});
});

test("defaults of seeder and tracker; an empty file and empty sections are defaults too", () => {
  const seeder = loadConfig(seederConfigSchema, { app: "seeder" });
  assert.deepEqual(seeder, {
    seederCfg: {
      port: 61008,
      bittorrent: true,
      origins: [],
      trackers: [],
      rootDirectory: "/data/bt/seeder",
      limitSize: 1024 ** 4,
      minFree: { percent: 5 },
      scrubRate: 4 * 1024 ** 2,
      downloadRateLimit: 0,
      uploadRateLimit: 0,
      downloadTimeout: 30,
      firstByteTimeout: 5,
      dialTimeout: 5,
      headerTimeout: 30,
      storageBackend: "fs",
      tagTTL: 1,
      s3: { region: "us-east-1", pathStyle: false, presign: false },
    },
    daemonCfg: { host: "0.0.0.0", port: 55008, verbose: false },
    registries: {},
    cluster: { addresses: [] },
  });
  const tracker = {
    trackerCfg: { host: "0.0.0.0", port: 6969, interval: 60, store: "memory", verbose: false },
    cluster: { addresses: [] },
  };
  assert.deepEqual(loadConfig(trackerConfigSchema, { app: "tracker" }), tracker);
  for (const text of ["", "# nothing\n", "trackerCfg:\n  # port: 1\n", "\ufefftrackerCfg: {}\n"]) {
    assert.deepEqual(loadConfig(trackerConfigSchema, { app: "tracker", file: write(text) }), tracker);
  }
});

test("values are normalised", () => {
  writeFileSync(join(dir, "password"), "s3cret\n");
  const { clientCfg, proxyCfg, registries } = proxyYaml(`
clientCfg:
  trackers: tracker:7000
  seeders: ["[::1]:1", https://seeder, seeder]
  limitSize: 512M
  minFree: 10G
  ttl: 30d
  downloadRateLimit: 1000
  advertise: "[fd00::1]"
proxyCfg:
  origin: Registry.Example.com:5000
  origins: quay.io
  rules: /library/
  connectPorts: 8443
  allowClients: [10.0.0.0/8, "fd00::/8", 192.168.1.1]
registries:
  docker.io: { upstream: "https://mirror.example.com/", username: puller, passwordFile: ${join(dir, "password")} }
  127.0.0.1:5000: { plainHTTP: true }
`);
  assert.deepEqual(
    clientCfg.trackers.map((tier) => tier.map(String)),
    [["http://tracker:7000/announce"]],
  );
  assert.deepEqual(clientCfg.seeders.map(String), ["http://[::1]:1/", "https://seeder/", "http://seeder:55008/"]);
  assert.equal(clientCfg.limitSize, 512 * 1024 ** 2);
  assert.deepEqual(clientCfg.minFree, { bytes: 10 * 1024 ** 3 });
  assert.equal(clientCfg.ttl, 30 * 86_400);
  assert.equal(clientCfg.downloadRateLimit, 1000);
  assert.equal(clientCfg.advertise, "fd00::1");
  assert.equal(proxyCfg.origin, "registry.example.com:5000");
  assert.deepEqual(proxyCfg.origins, ["quay.io"]);
  assert.ok(proxyCfg.rules[0]!.test("https://registry.example.com/v2/library/x/blobs/sha256:aa"));
  assert.deepEqual(proxyCfg.connectPorts, [8443]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "fd12::1%eth0", "192.168.1.1"]) {
    assert.ok(proxyCfg.allowClients.allows(address), address);
  }
  for (const address of ["127.0.0.1", "::1", "192.168.1.2", "", "x"]) {
    assert.ok(!proxyCfg.allowClients.allows(address), address);
  }
  assert.deepEqual(registryInits(registries), {
    "docker.io": { upstream: "https://mirror.example.com", plainHTTP: false, username: "puller", password: "s3cret" },
    "127.0.0.1:5000": { plainHTTP: true },
  });
});

test("trackers may be tiers", () => {
  const tiers = (trackers: unknown) =>
    proxy({ clientCfg: { trackers } }).clientCfg.trackers.map((t) => t.map((u) => u.host));
  assert.deepEqual(tiers(["a", "b:1"]), [["a:6969", "b:1"]]);
  assert.deepEqual(tiers([["a", "b"], ["c"]]), [["a:6969", "b:6969"], ["c:6969"]]);
  assert.deepEqual(tiers([["a", "b"], "c"]), [["a:6969", "b:6969"], ["c:6969"]]);
});

test("given values go over the file's", () => {
  const file = write("clientCfg: { port: 1, peerPort: 2, seeders: [a, b] }\n");
  const object = { clientCfg: { port: 3, seeders: ["c"], zone: undefined } };
  const { clientCfg } = loadConfig(proxyConfigSchema, { app: "proxy", file, object });
  assert.deepEqual([clientCfg.port, clientCfg.peerPort, clientCfg.seeders.map(String)], [3, 2, ["http://c:55008/"]]);
});

test("a message names key, line, what is wrong and an example, for all problems at once", () => {
  const { message, problems, code } = refusal(`clientCfg:
  limitSize: 100GB
  seeder: a
registries:
  docker.io:
    upsteam: x
origin: x
`);
  assert.equal(code, "invalid");
  const lines = message.split("\n");
  assert.match(lines[0]!, /^configuration of the proxy \(.*proxy\.yaml\) is refused:$/);
  assert.deepEqual(lines.slice(1), [
    '  clientCfg.limitSize (line 2, column 3): "100GB" is not a size (did you mean 100G?). Expected: size: bytes, or a number with K, M, G or T (powers of 1024); for example: 100G',
    "  clientCfg.seeder (line 3, column 3): unknown key. Did you mean clientCfg.seeders?",
    "  registries.docker.io.upsteam (line 6, column 5): unknown key. Did you mean registries.docker.io.upstream?",
    "  origin (line 7, column 1): unknown key. Did you mean proxyCfg.origin?",
  ]);
  assert.deepEqual(problems[1], {
    path: "clientCfg.seeder",
    message: "unknown key. Did you mean clientCfg.seeders?",
    line: 3,
    column: 3,
  });
});

const wrong: [string, RegExp][] = [
  ["clientCfg: { port: '61007' }", /clientCfg\.port .*take off the quotes/],
  ["clientCfg: { port: 65536 }", /clientCfg\.port .*65536 is outside 0 to 65535/],
  ["clientCfg: { port: 1.5 }", /clientCfg\.port .*1\.5 is not a whole number/],
  ["clientCfg: { port: }", /clientCfg\.port .*an empty value is not/],
  ["clientCfg: { port: 5, peerPort: 5 }", /clientCfg\.port .*5 is the port of clientCfg\.peerPort too/],
  ["clientCfg: { peerPort: 43002 }", /proxyCfg\.port.*43002 is the port of clientCfg\.peerPort too/],
  ["clientCfg: { bittorrent: yes }", /clientCfg\.bittorrent .*"yes" is not true or false/],
  ["clientCfg: { limitSize: 0 }", /clientCfg\.limitSize .*no room/],
  ["clientCfg: { limitSize: -1 }", /clientCfg\.limitSize .*-1 is not a whole number of bytes/],
  ["clientCfg: { limitSize: 1e400 }", /clientCfg\.limitSize .*Infinity is not/],
  ["clientCfg: { minFree: 100% }", /clientCfg\.minFree .*no room/],
  ["clientCfg: { minFree: 5 % }", /clientCfg\.minFree .*"5 %" is not a percentage/],
  ["clientCfg: { ttl: 30 }", /clientCfg\.ttl .*30 is not a duration/],
  ["clientCfg: { downloadTimeout: 0 }", /clientCfg\.downloadTimeout .*0 is outside 0\.1 to 3600/],
  ["clientCfg: { firstByteTimeout: 0 }", /clientCfg\.firstByteTimeout .*0 is outside 0\.1 to 600/],
  ["clientCfg: { dialTimeout: 5s }", /clientCfg\.dialTimeout .*"5s" is not a number of seconds/],
  ["clientCfg: { headerTimeout: 7200 }", /clientCfg\.headerTimeout .*7200 is outside 0\.1 to 3600/],
  ["clientCfg: { downloadTimeout: 30s }", /clientCfg\.downloadTimeout .*"30s" is not a number of seconds/],
  ["clientCfg: { policy: random }", /clientCfg\.policy .*"random" is not known. Expected: round_robin or rendezvous/],
  ["clientCfg: { trackers: [udp://t:1] }", /clientCfg\.trackers .*item 1: "udp:\/\/t:1" uses udp/],
  ["clientCfg: { trackers: [[a], []] }", /clientCfg\.trackers .*tier 2 is empty/],
  ["clientCfg: { trackers: [[[a]]] }", /clientCfg\.trackers .*tier 1: item 1: a list is not a host/],
  ["clientCfg: { seeders: ['::1'] }", /clientCfg\.seeders .*needs brackets/],
  ["clientCfg: { zone: 'a b' }", /clientCfg\.zone .*"a b" is not a label/],
  ["clientCfg: { zone: 12 }", /clientCfg\.zone .*12 is not a label/],
  ["clientCfg: { rootDirectory: '' }", /clientCfg\.rootDirectory .*"" is not/],
  ["clientCfg: 5", /clientCfg .*5 is not a section\. Expected: keys with values; for example: \{port: 61007\}/],
  ["- a", /a list is not a section/],
  ["hello", /"hello" is not a section/],
  ["proxyCfg: { host: 1.2.3 }", /proxyCfg\.host .*"1\.2\.3" is not/],
  ["proxyCfg: { origin: https://a/b }", /proxyCfg\.origin .*must not have a path/],
  ["proxyCfg: { rules: ['('] }", /proxyCfg\.rules .*item 1: "\(" is not a regular expression/],
  ["proxyCfg: { allowClients: [] }", /proxyCfg\.allowClients .*nobody/],
  ["proxyCfg: { allowClients: 10.0.0.0/33 }", /proxyCfg\.allowClients .*longer than 32/],
  ["proxyCfg: { connectPorts: 0 }", /proxyCfg\.connectPorts .*0 is outside 1 to 65535/],
  ["proxyCfg: { authorise: private }", /proxyCfg\.authorise .*Did you mean proxyCfg\.authorize\?/],
  ["proxyCfg: { tracker: a }", /proxyCfg\.tracker .*Did you mean clientCfg\.trackers\?/],
  ["proxyCfg: { quite: different }", /proxyCfg\.quite .*Known here: host, port, origin/],
  ["trackerCfg: {}", /trackerCfg .*unknown key/],
  ["__proto__: { a: 1 }", /__proto__ .*unknown key/],
  ["registries: { docker.io: { __proto__: { a: 1 } } }", /registries\.docker\.io\.__proto__ .*unknown key/],
  ["registries: { https://a: {} }", /registries\.https:\/\/a .*not a registry's name/],
  ["registries: { Docker.io: {} }", /registries\.Docker\.io .*lower case/],
  ["registries: { a: }", /registries\.a .*an empty value is not a section/],
  ["registries: { a: { username: b } }", /registries\.a\.passwordFile .*missing, though username is given/],
  ["registries: { a: { password: b } }", /registries\.a\.username .*missing, though a password is given/],
  [
    "registries: { a: { ca: /nowhere/ca.crt } }",
    /registries\.a\.ca .*cannot read \/nowhere\/ca\.crt: there is no such file/,
  ],
  ["registries: { a: { ca: / } }", /registries\.a\.ca .*cannot read \/: it is a directory/],
];
for (const [text, message] of wrong) {
  test(`refused: ${text}`, () => {
    const error = refusal(text);
    assert.match(error.message, message);
    assert.equal(error.message.split("\n").length, 2, error.message);
  });
}

test("no message shows a password", () => {
  for (const text of [
    "registries: { a: { username: u, password: 31337 } }",
    "registries: { a: { username: u, password: [sesame31337] } }",
    'registries: { a: { username: u, password: "31337\\n31337" } }',
    "registries: { a: { password: sesame31337 } }",
    "clientCfg: { seeders: https://me:31337@host }",
    "clientCfg: { seeders: me:31337@host }",
    "proxyCfg: { origin: https://me:sesame/31337@host }",
    "registries:\n  a:\n    password: 31337\n   username: u\n",
    'registries: { a: { password: "31337 }',
  ]) {
    assert.doesNotMatch(refusal(text).message, /31337/, text);
  }
});

test("a file that cannot be read is told apart", () => {
  for (const file of [join(dir, "missing.yaml"), dir]) {
    assert.throws(() => loadConfig(proxyConfigSchema, { app: "proxy", file }), {
      name: "ConfigError",
      code: "unreadable",
      message: /^configuration of the proxy \(.*\): cannot read .*(no such file|a directory)$/,
    });
  }
});

test("large and endless files, bytes that are no text, are refused", () => {
  assert.match(refusal(`#${"x".repeat(1 << 20)}`).message, /larger than 1048576 bytes/);
  assert.match(refusal(new Uint8Array([0x61, 0xff, 0xfe])).message, /not UTF-8/);
  assert.throws(() => loadConfig(proxyConfigSchema, { app: "proxy", file: "/dev/zero" }), {
    code: "invalid",
    message: /larger than/,
  });
});

test("many problems make a short message", () => {
  const error = refusal(`clientCfg:\n${Array.from({ length: 500 }, (_, i) => `  unknown${i}: 1\n`).join("")}`);
  assert.match(error.message, /… and 480 more$/);
});
