/**
 * @module
 * Where a bucket is and how it is spoken to.
 */

/** Settings of a bucket. */
export interface S3Config {
  readonly bucket: string;
  /** Of all keys: nothing, or a path that ends in `/`. @default "" */
  readonly prefix?: string | undefined;
  /** Of any S3-compatible server. @default Amazon's, by region */
  readonly endpoint?: URL | undefined;
  /** @default "us-east-1" */
  readonly region?: string | undefined;
  /** Bucket in the path instead of the host name. @default false */
  readonly pathStyle?: boolean | undefined;
  /** Both or none; none: the SDK's chain (environment, files, web identity, container, instance). */
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
}
