/**
 * How container engines are pointed at a proxy on their host, as text to copy from.
 * @module
 */
import { canonicalRegistry } from "../../../lib/registry/reference.ts";

/**
 * @param init.url The proxy's registry port, `http://127.0.0.1:43002`.
 * @param init.origins Registries; the first is the default one.
 * @returns ends with a line break
 */
export function engineGuide({ url, origins }: { url: string; origins: readonly string[] }): string {
  const { origin: mirror, host } = new URL(url);
  const registries = origins.map(nameOf);
  const [first = "docker.io"] = registries;
  const sample = first === "docker.io" ? "library/alpine" : "NAME:TAG";
  const mirrored = registries.includes("docker.io");
  const dockerd = mirrored
    ? `docker, for images of Docker Hub. In /etc/docker/daemon.json, then restart docker:

    { "registry-mirrors": ["${mirror}"] }
`
    : `docker, without any configuration (it mirrors Docker Hub only; this proxy's default is ${first}):

    docker pull ${host}/${sample}
`;
  const containerd = registries
    .map(
      (name) => `    # /etc/containerd/certs.d/${name}/hosts.toml
    [host."${mirror}"]
      capabilities = ["pull", "resolve"]
`,
    )
    .join("\n");
  return `Point a container engine of this host at it, whichever you use:

${dockerd}
containerd (its registry config_path must be /etc/containerd/certs.d):

${containerd}
podman, buildah, skopeo. In /etc/containers/registries.conf.d/eagle.conf:

    [[registry]]
    location = "${first}"
    [[registry.mirror]]
    location = "${host}"
    insecure = true

Or try it without an engine:

    eagle get --proxy ${mirror} ${first}/${sample}
`;
}

/** A registry as engines call it. */
function nameOf(origin: string): string {
  return canonicalRegistry(origin.replace(/^https?:\/\//, ""));
}
