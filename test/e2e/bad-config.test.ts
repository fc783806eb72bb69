/**
 * @module What a person can get wrong in a config file is told by key, with what is wrong, and the part does not start.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { type AppName, defaultRuntime, runtimeCommand } from "../rig/eagle.ts";
import { Rig } from "../rig/rig.ts";

/** A file that must be refused, and what the refusal has to name. */
interface BadConfig {
  title: string;
  app: AppName;
  text: string;
  says: RegExp;
}

const cases: BadConfig[] = [
  { title: "broken YAML", app: "proxy", text: "proxyCfg:\n  port: [1, 2\n clientCfg", says: /yaml|line \d/i },
  { title: "no map at all", app: "tracker", text: "- 1\n- 2\n", says: /list|map|section/i },
  { title: "an unknown section", app: "proxy", text: "proxyConfig:\n  port: 1\n", says: /proxyConfig/ },
  { title: "an unknown key", app: "proxy", text: "proxyCfg:\n  prot: 43002\n", says: /proxyCfg.*prot/s },
  { title: "a wrong type", app: "tracker", text: "trackerCfg:\n  port: many\n", says: /trackerCfg\.port/ },
  { title: "an impossible port", app: "seeder", text: "daemonCfg:\n  port: 70000\n", says: /daemonCfg\.port/ },
  {
    title: "a size that is none",
    app: "seeder",
    text: "seederCfg:\n  limitSize: 10 apples\n",
    says: /seederCfg\.limitSize/,
  },
  {
    title: "a negative time",
    app: "proxy",
    text: "clientCfg:\n  downloadTimeout: -1\n",
    says: /clientCfg\.downloadTimeout/,
  },
  { title: "a broken rule", app: "proxy", text: 'proxyCfg:\n  rules: ["(("]\n', says: /proxyCfg\.rules/ },
];

for (const { title, app, text, says } of cases) {
  test(`${app}: ${title}`, async (t) => {
    const rig = await Rig.for(t);
    const file = rig.path("bad.yaml");
    await writeFile(file, text);
    const { code, output } = await runToEnd(rig, app, ["--config", file]);
    assert.notEqual(code, 0);
    assert.match(output, says);
    assert.doesNotMatch(output, /^\s+at .*\.ts:\d+/m, "a person is spared the stack");
  });
}

for (const app of ["tracker", "seeder", "proxy"] as const) {
  test(`${app}: a file that is not there`, async (t) => {
    const rig = await Rig.for(t);
    const { code, output } = await runToEnd(rig, app, ["--config", rig.path("none.yaml")]);
    assert.notEqual(code, 0);
    assert.match(output, /none\.yaml/);
  });

  test(`${app} --help`, async (t) => {
    const { code, output } = await runToEnd(await Rig.for(t), app, ["--help"]);
    assert.equal(code, 0);
    assert.match(output, /--config/);
  });
}

async function runToEnd(rig: Rig, app: AppName, flags: string[]): Promise<{ code: number | null; output: string }> {
  const [command, ...args] = runtimeCommand(defaultRuntime(), `apps/${app}/main.ts`);
  const child = rig.processes.start(command, [...args, ...flags], { name: app });
  const timer = setTimeout(() => child.signal("SIGKILL"), 20_000);
  const { code } = await child.exited;
  clearTimeout(timer);
  return { code, output: child.output };
}
