/**
 * Certificates by RFC 5280: an authority of one's own, and server certificates that it signs. Only what interception
 * needs; keys are EC P-256, an authority may have any key that TLS clients accept.
 * @module
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { canonicalIp, packAddress } from "../tracker/address.ts";
import {
  bitString,
  type DerValue,
  der,
  integer,
  oid,
  read,
  readInside,
  sequence,
  TAG,
  time,
  utf8String,
} from "./der.ts";

/** PEM texts of a certificate and its private key (PKCS #8). */
export interface KeyedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Why a certificate or its key cannot sign others. */
export class AuthorityError extends Error {
  override readonly name = "AuthorityError";
  readonly code = "unusable";
}

/** Clocks of hosts differ: a certificate holds from a little before it was made. */
const BACKDATE_MS = 3_600_000;
const DAY_MS = 86_400_000;

/**
 * Makes a certificate authority that signs itself.
 * @param init.name Its common name, at most 64 characters.
 * @param init.hosts Names and addresses it may sign for (with all names below a name); empty: any.
 * @param init.days How long it holds. @default 3650
 * @param init.now ms since 1970 @default Date.now()
 * @throws AuthorityError for a name that does not fit
 */
export function createAuthority({
  name,
  hosts = [],
  days = 3650,
  now = Date.now(),
}: {
  name: string;
  hosts?: readonly string[];
  days?: number;
  now?: number;
}): KeyedCertificate {
  if (name === "" || name.length > 64) throw new AuthorityError("the name of an authority has 1 to 64 characters");
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = commonName(name);
  const cert = signed({ key: privateKey }, [
    subject,
    validity(now, days),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    extensions(
      extension(OID.basicConstraints, { critical: true }, sequence(TRUE, integer(Uint8Array.of(0)))),
      // keyCertSign and cRLSign.
      extension(OID.keyUsage, { critical: true }, bitString(Uint8Array.of(0b0000_0110), { unused: 1 })),
      extension(OID.subjectKeyIdentifier, {}, der(TAG.octetString, keyIdentifier(publicKey))),
      ...(hosts.length === 0 ? [] : [extension(OID.nameConstraints, { critical: true }, constraints(hosts))]),
    ),
  ]);
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

/** Signs certificates of servers with an authority's key. */
export class Issuer {
  readonly #key: KeyObject;
  readonly #subject: Uint8Array;
  readonly #keyIdentifier: Uint8Array | undefined;
  /** The authority's certificate (the first one of its file), PEM. */
  readonly certificate: string;

  /** @throws AuthorityError when the certificate is no authority's, or the key not its own */
  constructor({ cert, key }: KeyedCertificate) {
    const certificate = attempt(() => new X509Certificate(cert), "its certificate cannot be read");
    this.#key = attempt(() => createPrivateKey(key), "its private key cannot be read");
    if (!certificate.ca) throw new AuthorityError("its certificate is not that of an authority (CA:TRUE is missing)");
    if (!certificate.checkPrivateKey(this.#key))
      throw new AuthorityError("its private key is that of another certificate");
    algorithmOf(this.#key);
    const { subject, keyIdentifier } = attempt(() => fieldsOf(certificate.raw), "its certificate cannot be read");
    this.#subject = subject;
    this.#keyIdentifier = keyIdentifier;
    this.certificate = certificate.toString();
  }

  /**
   * A certificate for one host, with a key of its own.
   * @param host A name or an IP address, without brackets.
   * @param init.days How long it holds. @default 30
   * @param init.now ms since 1970
   */
  issue(host: string, { days = 30, now = Date.now() }: { days?: number; now?: number } = {}): KeyedCertificate {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const authority = this.#keyIdentifier;
    const cert = signed({ key: this.#key }, [
      this.#subject,
      validity(now, days),
      // No subject: the alternative name says all, and some clients would take a common name for one more host name.
      sequence(),
      publicKey.export({ type: "spki", format: "der" }),
      extensions(
        extension(OID.basicConstraints, { critical: true }, sequence()),
        extension(OID.keyUsage, { critical: true }, bitString(Uint8Array.of(0b1000_0000), { unused: 7 })),
        extension(OID.extendedKeyUsage, {}, sequence(oid(OID.serverAuth))),
        extension(OID.subjectAltName, { critical: true }, sequence(generalName(host))),
        extension(OID.subjectKeyIdentifier, {}, der(TAG.octetString, keyIdentifier(publicKey))),
        ...(authority ? [extension(OID.authorityKeyIdentifier, {}, sequence(der(0x80, authority)))] : []),
      ),
    ]);
    return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
  }
}

const OID = {
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  rsaWithSha256: "1.2.840.113549.1.1.11",
  ed25519: "1.3.101.112",
} as const;

const TRUE = der(TAG.boolean, Uint8Array.of(0xff));
const NULL = der(0x05);

/** TBSCertificate and its signature (RFC 5280, 4.1). `fields`: issuer, validity, subject, key, extensions. */
function signed({ key }: { key: KeyObject }, fields: readonly Uint8Array[]): string {
  const { identifier, hash } = algorithmOf(key);
  const version3 = der(0xa0, integer(Uint8Array.of(2)));
  const serial = integer(Buffer.concat([Uint8Array.of(1), randomBytes(15)]));
  const tbs = sequence(version3, serial, identifier, ...fields);
  const certificate = sequence(tbs, identifier, bitString(sign(hash, tbs, key)));
  const lines = Buffer.from(certificate)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

/** @throws AuthorityError for a kind of key that is not used here */
function algorithmOf(key: KeyObject): { identifier: Uint8Array; hash: string | null } {
  switch (key.asymmetricKeyType) {
    case "ec":
      return { identifier: sequence(oid(OID.ecdsaWithSha256)), hash: "sha256" };
    case "rsa":
      return { identifier: sequence(oid(OID.rsaWithSha256), NULL), hash: "sha256" };
    case "ed25519":
      return { identifier: sequence(oid(OID.ed25519)), hash: null };
    default:
      throw new AuthorityError(`its key is of the kind ${key.asymmetricKeyType}; expected EC, RSA or Ed25519`);
  }
}

/** Subject and key identifier of a certificate. @throws DerError */
function fieldsOf(certificate: Uint8Array): { subject: Uint8Array; keyIdentifier: Uint8Array | undefined } {
  const [tbs] = readInside(read(certificate)[0]);
  const fields = readInside(tbs).filter(({ tag }) => tag !== 0xa0);
  // Serial number, algorithm, issuer, validity, subject, key, then what is optional.
  const subject = fields[4];
  const list = fields.find(({ tag }) => tag === 0xa3);
  const all = list ? readInside(readInside(list, 0xa3)[0]).map((each) => readInside(each)) : [];
  const wanted = Buffer.from(oid(OID.subjectKeyIdentifier));
  const value = all.find(([id]) => id && wanted.equals(id.whole))?.at(-1);
  readInside(subject);
  return { subject: subject!.whole, keyIdentifier: value && inner(value) };
}

function inner(octets: DerValue): Uint8Array | undefined {
  return read(octets.content)[0]?.content;
}

/** The first method of RFC 5280, 4.2.1.2: SHA-1 of the key's bits. */
function keyIdentifier(key: KeyObject): Uint8Array {
  const [, bits] = readInside(read(key.export({ type: "spki", format: "der" }))[0]);
  return createHash("sha1").update(bits!.content.subarray(1)).digest();
}

function commonName(text: string): Uint8Array {
  return sequence(der(TAG.set, sequence(oid(OID.commonName), utf8String(text))));
}

function validity(now: number, days: number): Uint8Array {
  return sequence(time(new Date(now - BACKDATE_MS)), time(new Date(now + days * DAY_MS)));
}

function extensions(...all: readonly Uint8Array[]): Uint8Array {
  return der(0xa3, sequence(...all));
}

function extension(id: string, { critical = false }: { critical?: boolean }, value: Uint8Array): Uint8Array {
  return sequence(oid(id), ...(critical ? [TRUE] : []), der(TAG.octetString, value));
}

/** GeneralName: dNSName or iPAddress. */
function generalName(host: string): Uint8Array {
  return isIP(host) ? der(0x87, addressBytes(host)) : der(0x82, Buffer.from(host, "latin1"));
}

/**
 * NameConstraints (RFC 5280, 4.2.1.10): these names, and these addresses or none. A kind of name that no constraint
 * speaks of would be free.
 */
function constraints(hosts: readonly string[]): Uint8Array {
  const subtree = (name: Uint8Array) => sequence(name);
  const whole = (host: string) => {
    const bytes = addressBytes(host);
    return der(0x87, bytes, new Uint8Array(bytes.length).fill(0xff));
  };
  const permitted = hosts.map((host) => subtree(isIP(host) ? whole(host) : generalName(host)));
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  const excluded = [
    ...(addresses.length === hosts.length ? [der(0x82)] : []),
    ...(addresses.some((ip) => addressBytes(ip).length === 4) ? [] : [der(0x87, new Uint8Array(8))]),
    ...(addresses.some((ip) => addressBytes(ip).length === 16) ? [] : [der(0x87, new Uint8Array(32))]),
  ].map(subtree);
  return sequence(der(0xa0, ...permitted), ...(excluded.length === 0 ? [] : [der(0xa1, ...excluded)]));
}

function addressBytes(ip: string): Uint8Array {
  return packAddress(canonicalIp(ip) ?? ip, 0).subarray(0, -2);
}

function attempt<T>(make: () => T, message: string): T {
  try {
    return make();
  } catch (cause) {
    throw new AuthorityError(message, { cause });
  }
}
