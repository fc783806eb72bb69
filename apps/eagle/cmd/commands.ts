/**
 * The subcommands. Each is loaded when it is run, so that help comes at once.
 * @module
 */

/** A subcommand. */
export interface Command {
  readonly name: string;
  /** What stands behind the name, in short. */
  readonly usage: string;
  /** One line for the overview. */
  readonly about: string;
  /** Under which heading of the overview it stands. */
  readonly group: "start" | "ask" | "part";
  load(): Promise<CommandModule>;
}

/** What the file of a subcommand exports. */
export interface CommandModule {
  /**
   * @param args The command line behind the subcommand.
   * @returns The exit code, or nothing when the command goes on in the background.
   * @throws UsageError, or any Error whose message is for people
   */
  run(args: readonly string[]): Promise<number | undefined>;
}

export const COMMANDS: readonly Command[] = [
  {
    name: "demo",
    usage: "",
    about: "Shows Eagle at work on this machine within a minute. Needs nothing, leaves nothing.",
    group: "start",
    load: () => import("./demo.ts"),
  },
  {
    name: "up",
    usage: "[--origin HOST]",
    about: "Runs all of Eagle for this host, and tells how to point a container engine at it.",
    group: "start",
    load: () => import("./up.ts"),
  },
  {
    name: "doctor",
    usage: "[--config FILE]",
    about: "Looks at this host's proxy, engines and network, and says what to change.",
    group: "start",
    load: () => import("./doctor.ts"),
  },
  {
    name: "setup",
    usage: "ENGINE",
    about: "Points a container engine of this host at the proxy, or takes it back (--undo).",
    group: "start",
    load: () => import("./setup.ts"),
  },
  {
    name: "ca",
    usage: "[--host REGISTRY]",
    about: "Makes a certificate authority, for engines that use Eagle as HTTPS proxy.",
    group: "start",
    load: () => import("./ca.ts"),
  },
  {
    name: "get",
    usage: "IMAGE|URL",
    about: "Downloads an image into an OCI layout, or one blob into a file.",
    group: "ask",
    load: () => import("./get.ts"),
  },
  {
    name: "cache",
    usage: "COMMAND",
    about: "Shows, checks and removes what a proxy or seeder keeps on its disk.",
    group: "ask",
    load: () => import("./cache.ts"),
  },
  {
    name: "metainfo",
    usage: "URL",
    about: "Asks a seeder how a blob is cut into pieces, and for its torrent.",
    group: "ask",
    load: () => import("./metainfo.ts"),
  },
  {
    name: "tracker",
    usage: "--config FILE",
    about: "Runs a tracker: tells hosts which others have a blob. One or two for a cluster.",
    group: "part",
    load: () => import("./tracker.ts"),
  },
  {
    name: "seeder",
    usage: "--config FILE",
    about: "Runs a seeder: reads each blob from the registry once. A few for a cluster.",
    group: "part",
    load: () => import("./seeder.ts"),
  },
  {
    name: "proxy",
    usage: "--config FILE",
    about: "Runs a proxy: the registry mirror that container engines use. One on every host.",
    group: "part",
    load: () => import("./proxy.ts"),
  },
];
