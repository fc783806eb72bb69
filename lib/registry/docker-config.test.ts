/** @module Tests of credentials from docker's config.json, and from helper programs. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { askCredentialHelper, CredentialHelperError } from "./credential-helper.ts";
import { DockerConfig, parseDockerConfig } from "./docker-config.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

async function inDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "eagle-docker-config-"));
  try {
    await run(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("auths by all spellings of a registry", () => {
  const { auths, helpers, store } = parseDockerConfig(
    JSON.stringify({
      auths: {
        "https://index.docker.io/v1/": { auth: base64("hub:p:w") },
        "https://127.0.0.1:5000/v2/": { username: "u", password: "p" },
        "QUAY.io": { auth: base64("q:x") },
        "quay.io/team": { auth: base64("no:no") },
        "token.example": { auth: base64("00000000-0000-0000-0000-000000000000:"), identitytoken: "refresh" },
        "empty.example": {},
        "odd.example": { auth: 5 },
      },
      credHelpers: { "gcr.io": "gcloud", "evil.example": "../x", "odd.example": 1 },
      credsStore: "pass",
    }),
  );
  assert.deepEqual(Object.fromEntries(auths), {
    "docker.io": { username: "hub", password: "p:w" },
    "127.0.0.1:5000": { username: "u", password: "p" },
    "quay.io": { username: "q", password: "x" },
    "token.example": { username: "<token>", password: "refresh" },
  });
  assert.deepEqual(Object.fromEntries(helpers), { "gcr.io": "gcloud" });
  assert.equal(store, "pass");
});

test("what is no config.json is refused without telling what is in it", () => {
  for (const text of ["", "s3cret", "[]", "null", '"s3cret"'])
    assert.throws(
      () => parseDockerConfig(text),
      (error) => error instanceof Error && !error.message.includes("s3cret"),
    );
  assert.equal(parseDockerConfig('{"auths":[],"credHelpers":5,"credsStore":{}}').auths.size, 0);
});

test("the helper of a registry, else the store, else what stands in the file; answers are kept, failures briefly", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "config.json");
    await writeFile(
      path,
      JSON.stringify({
        auths: { "plain.example": { auth: base64("plain:p") }, "gcr.io": {} },
        credHelpers: { "gcr.io": "gcloud" },
        credsStore: "store",
      }),
    );
    const asked: string[] = [];
    let fails = false;
    const clock = { now: 0 };
    const config = new DockerConfig({
      path,
      now: () => clock.now,
      async askHelper(helper, server) {
        asked.push(`${helper} ${server}`);
        if (fails) throw new CredentialHelperError("timeout", "late");
        return helper === "gcloud" || server.includes("docker.io") ? { username: helper, password: "x" } : undefined;
      },
    });
    const user = async (name: string) => (await config.credentials(name))?.username;
    const names = ["gcr.io", "gcr.io", "docker.io", "registry-1.docker.io", "plain.example", "other.example"];
    assert.deepEqual(await Promise.all(names.map(user)), ["gcloud", "gcloud", "store", "store", "plain", undefined]);
    assert.deepEqual(asked, [
      "gcloud gcr.io",
      "store https://index.docker.io/v1/",
      "store plain.example",
      "store other.example",
    ]);
    clock.now = 300_001;
    fails = true;
    assert.equal(await user("gcr.io"), undefined);
    assert.equal(await user("gcr.io"), undefined);
    assert.equal(asked.length, 5);
    clock.now += 10_001;
    fails = false;
    assert.equal(await user("gcr.io"), "gcloud");
  });
});

test("a file that changes is read again; one that is gone or torn leaves what was known", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "config.json");
    const clock = { now: 0 };
    const config = new DockerConfig({ path, now: () => clock.now });
    assert.equal(await config.credentials("a.example"), undefined);
    let seconds = 1_000_000;
    const put = async (text: string) => {
      await writeFile(path, text);
      seconds += 10;
      await utimes(path, seconds, seconds);
      clock.now += 5001;
    };
    const login = (password: string) => JSON.stringify({ auths: { "a.example": { auth: base64(`u:${password}`) } } });
    await put(login("1"));
    assert.equal((await config.credentials("a.example"))?.password, "1");
    await put(login("2"));
    assert.equal((await config.credentials("a.example"))?.password, "2");
    await put("{");
    assert.equal((await config.credentials("a.example"))?.password, "2");
    await rm(path);
    clock.now += 5001;
    assert.equal((await config.credentials("a.example"))?.password, "2");
  });
});

test("helper programs: right, unknown, broken, mute, talkative, missing", async () => {
  await inDirectory(async (directory) => {
    const helper = async (name: string, script: string) => {
      const file = join(directory, `docker-credential-${name}`);
      await writeFile(file, `#!/bin/sh\n${script}\n`);
      await chmod(file, 0o755);
    };
    await helper(
      "right",
      `read server; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"u-%s","Secret":"p"}' "$server" "$server"`,
    );
    await helper("unknown", "echo 'credentials not found in native keychain'; exit 1");
    await helper("broken", "echo s3cret; exit 3");
    await helper("nonsense", "echo s3cret");
    await helper("mute", "exec sleep 60");
    await helper("talkative", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    const env = { PATH: `${directory}:/usr/bin:/bin` };
    const ask = (name: string, timeoutMs = 10_000) => askCredentialHelper(name, "a.example", { env, timeoutMs });
    assert.deepEqual(await ask("right"), { username: "u-a.example", password: "p" });
    assert.equal(await ask("unknown"), undefined);
    for (const [name, code] of [
      ["broken", "failed"],
      ["nonsense", "malformed"],
      ["talkative", "malformed"],
      ["none", "missing"],
      ["../right", "missing"],
    ] as const) {
      await assert.rejects(
        ask(name),
        (error) => error instanceof CredentialHelperError && error.code === code && !error.message.includes("s3cret"),
        name,
      );
    }
    await assert.rejects(
      ask("mute", 100),
      (error) => error instanceof CredentialHelperError && error.code === "timeout",
    );
  });
});
