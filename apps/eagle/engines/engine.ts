/**
 * What `eagle setup` and `eagle doctor` know of a container engine.
 * @module
 */
import type { FileEdit } from "./edit.ts";

/** Which engine. */
export type EngineName = "docker" | "containerd" | "podman";

/** What an engine is pointed at. */
export interface EngineSettings {
  /** Where `/etc` is. */
  readonly root: string;
  /** The proxy's registry port. */
  readonly proxy: URL;
  /** Registries by the names that engines call them by. */
  readonly registries: readonly string[];
}

/** What is to be done to an engine's files, and by hand. */
export interface Plan {
  readonly edits: readonly FileEdit[];
  /** Sentences for people: what stays out of reach, what else to do. */
  readonly notes: readonly string[];
  /** The command that makes the engine read its files again; undefined where it does so itself. */
  readonly reload?: string;
}

/** What was found in an engine's files. */
export interface Finding {
  readonly status: "ok" | "warn" | "fail";
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** An engine. All paths stand below `settings.root`. */
export interface Engine {
  readonly name: EngineName;
  /** Programs and files that show that it is there. */
  readonly traces: readonly string[];
  /** @throws EditError, ConfigError */
  plan(settings: EngineSettings): Promise<Plan>;
  /** @throws EditError, ConfigError */
  planUndo(settings: EngineSettings): Promise<Plan>;
  /** What its files say about the proxy. @throws EditError, ConfigError for files that cannot be read */
  inspect(settings: EngineSettings, context: InspectContext): Promise<readonly Finding[]>;
}

/** What the proxy's configuration says that an engine's depends on. */
export interface InspectContext {
  /** The registry of requests that name none, as engines call it. */
  readonly defaultRegistry: string | undefined;
}
