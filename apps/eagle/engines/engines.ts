/**
 * The engines that Eagle knows how to set up.
 * @module
 */
import { containerd } from "./containerd.ts";
import { docker } from "./docker.ts";
import type { Engine } from "./engine.ts";
import { podman } from "./podman.ts";

export const ENGINES: readonly Engine[] = [docker, containerd, podman];
