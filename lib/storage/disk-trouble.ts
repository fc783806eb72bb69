/**
 * @module
 * What a disk's error means and what to do about it, in plain words.
 */

/** An error of a disk, for a person. */
export interface DiskTrouble {
  /** The system's code. */
  readonly code: string;
  /** What happened. */
  readonly reason: string;
  /** What to do. */
  readonly advice: string;
}

const words: Readonly<Record<string, Omit<DiskTrouble, "code">>> = {
  ENOSPC: {
    reason: "the disk is full",
    advice: "free space on it, or lower limitSize or raise minFree, so that the cache leaves more of it to others",
  },
  EDQUOT: {
    reason: "the quota of the disk is used up",
    advice: "raise the quota, or lower limitSize below it",
  },
  EROFS: {
    reason: "the file system is read-only",
    advice: "see in the kernel's log (dmesg) why it became so, repair it, and mount it for writing again",
  },
  EIO: {
    reason: "the disk could not read or write",
    advice: "look at the kernel's log (dmesg) and the disk's health; replace it or move rootDirectory to another",
  },
  EMFILE: {
    reason: "this process has as many files and connections open as it may",
    advice: "raise its limit of open files (LimitNOFILE= of systemd, ulimit -n)",
  },
  ENFILE: {
    reason: "the machine has as many files open as it can",
    advice: "raise the sysctl fs.file-max, or end what holds so many files",
  },
  EACCES: {
    reason: "permission denied",
    advice: "let the user that Eagle runs as read and write everything under rootDirectory",
  },
  ENOENT: {
    reason: "a file or directory is gone",
    advice: "leave what is under rootDirectory to Eagle; a restart makes missing directories anew",
  },
};
const same: Readonly<Record<string, string>> = { EPERM: "EACCES", ENOTDIR: "ENOENT" };

/** Causes are followed so deep. */
const maxCauses = 8;

/** Finds a disk's error among an error and its causes. @returns undefined when there is none */
export function diskTrouble(error: unknown): DiskTrouble | undefined {
  let at = error;
  for (let depth = 0; depth < maxCauses && at instanceof Error; depth++) {
    const code = "code" in at && typeof at.code === "string" ? at.code : "";
    const known = words[same[code] ?? code];
    if (known) return { code, ...known };
    at = at.cause;
  }
  return undefined;
}

/**
 * What was attempted, and why the disk did not do it, as far as that is known.
 *
 * @param about begins the sentence: `cannot write /data/x`
 */
export function withReason(about: string, error: unknown): string {
  const trouble = diskTrouble(error);
  return trouble ? `${about}: ${trouble.reason} (${trouble.code})` : about;
}
