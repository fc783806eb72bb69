/**
 * Which of several seeders over one bucket reads a blob from its origin.
 * @module
 */

/** Whose turn it is. */
export type Claim =
  /** This seeder's, until `release`. */
  | { readonly kind: "mine"; release(): Promise<void> }
  /** Another's, who lives as far as is known; `owner`: its HTTP port. */
  | { readonly kind: "other"; readonly owner: URL };

/** Settles it, by whatever the bucket can do. */
export interface Claims extends AsyncDisposable {
  /** Asks for the turn. Asked again and again it notices when the owner has died. @throws StorageError the bucket's */
  claim(id: string): Promise<Claim>;

  /**
   * Tells what was seen of an owner. `dead`: its process is gone for certain, no need to wait for its time to run out;
   * else it could not be reached, which may be this host's own fault.
   */
  suspect(owner: URL, options: { dead: boolean }): void;
}

/** What both ways need. */
export interface ClaimsInit {
  /** How other seeders reach this one. */
  readonly self: URL;
  /** Of this process, different at each start. */
  readonly instance: string;
  /** Monotonic ms. */
  readonly now?: () => number;
}
