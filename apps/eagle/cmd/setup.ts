/**
 * `eagle setup`: writes an engine's configuration, and takes back what it wrote.
 * @module
 */
import { UsageError } from "../../../lib/cli/flags.ts";
import { parseEndpoint } from "../../../lib/config/index.ts";
import { canonicalRegistry } from "../../../lib/registry/reference.ts";
import { renderDiff } from "../engines/diff.ts";
import { apply, changes } from "../engines/edit.ts";
import { ENGINES } from "../engines/engines.ts";
import { command } from "./command.ts";
import { parsed } from "./values.ts";

const COMMAND = "eagle setup";

const SPEC = {
  name: COMMAND,
  about:
    "Points a container engine of this host at Eagle's proxy, by writing its configuration; everything else in its files stays. What a file was is kept beside it as FILE.eagle-backup; --undo puts it back.",
  flags: {
    proxy: {
      type: "string",
      value: "URL",
      fallback: "http://127.0.0.1:43002",
      about: "The proxy's port for engines.",
    },
    registry: {
      type: "string",
      value: "NAME",
      multiple: true,
      fallback: "docker.io",
      about: "A registry to pull from through the proxy, which must know it (proxyCfg.origin, origins).",
    },
    undo: { type: "boolean", about: "Take out what this command put in." },
    "dry-run": { type: "boolean", about: "Show what would be written, and write nothing." },
    root: {
      type: "string",
      value: "DIR",
      fallback: "/",
      about: "Where /etc is: a host's file system mounted elsewhere.",
    },
  },
  args: {
    usage: "ENGINE",
    about: "docker, containerd or podman, which also stands for buildah, skopeo and cri-o.",
    min: 1,
  },
  examples: [
    "eagle setup docker",
    "eagle setup containerd --registry docker.io --registry registry.example.com",
    "eagle setup podman --dry-run",
    "eagle setup docker --undo",
  ],
} as const;

/** @returns 0 */
export const run = command(SPEC, async ({ values, args: words }) => {
  const engine = ENGINES.find(({ name }) => name === words[0]);
  if (!engine) {
    const names = ENGINES.map(({ name }) => name).join(", ");
    throw new UsageError(`${COMMAND}: ${JSON.stringify(words[0])} is none of ${names}\nTry: ${COMMAND} --help`);
  }
  const settings = {
    root: values.root,
    proxy: parsed(values.proxy, { command: COMMAND, flag: "--proxy" }, proxyUrl),
    registries: [
      ...new Set(values.registry.map((text) => parsed(text, { command: COMMAND, flag: "--registry" }, registryName))),
    ],
  };
  const plan = values.undo ? await engine.planUndo(settings) : await engine.plan(settings);
  const edits = plan.edits.filter(changes);
  const say = (text: string) => process.stdout.write(text);
  for (const edit of edits) {
    if (values["dry-run"]) say(renderDiff(edit));
    else say(`${edit.after === undefined ? "removed" : "wrote"} ${edit.path}\n`);
  }
  if (edits.length === 0) say(values.undo ? "Nothing of Eagle's is there.\n" : "Everything is in place already.\n");
  if (!values["dry-run"]) await apply(edits, { undo: values.undo });
  for (const note of plan.notes) say(`${note}\n`);
  if (edits.length > 0 && plan.reload) say(`Now let ${engine.name} read it: ${plan.reload}\n`);
  return 0;
});

function proxyUrl(text: string): URL {
  const url = parseEndpoint(text, { defaultPort: 43002 });
  if (url.pathname !== "/") throw new Error(`${JSON.stringify(text)} must not have a path`);
  return url;
}

function registryName(text: string): string {
  if (text.includes("/")) throw new Error(`${JSON.stringify(text)} is not host or host:port`);
  parseEndpoint(text);
  return canonicalRegistry(text);
}
