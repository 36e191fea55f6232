/**
 * What a server is known by: the key of its control protocol, the key of its relay, and the certificate of its relay.
 * One file each, readable by its owner only. They are made once; clients that are connected hold on to them.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { Store as ValueStore } from '../../lib/ports.ts';
import { fileStore } from '../node/store.ts';

/** A certificate is made anew when less than this is left of it. */
const RENEW_MS = 30 * 86_400_000;
const LIFE_MS = 10 * 365 * 86_400_000;
/** Clients' clocks may be behind. */
const BACKDATE_MS = 2 * 86_400_000;

/** A certificate and its key, in PEM. */
export interface CertifiedKey {
  readonly cert: string;
  readonly key: string;
}

/** Where the keys of the server in `dataDir` are kept. */
export function keyStore(dataDir: string): ValueStore {
  return fileStore(join(dataDir, 'keys'));
}

/** The X25519 key of this name, made and on disk when there was none. NetError `ERR_STORE` for a damaged file. */
export function loadKey(store: ValueStore, name: string, random: (out: Uint8Array) => void): SecretKey {
  const value = store.load(name);
  if (value !== undefined) {
    if (value.length === 32) return SecretKey.fromBytes(value);
    throw new NetError('ERR_STORE', `the key ${name} is damaged: expected 32 bytes, found ${value.length}`);
  }
  const key = SecretKey.generate(random);
  store.save(name, key.bytes);
  return key;
}

/**
 * The relay's own certificate for `host` (a name or an address), made when there is none, or it is for another host, or
 * it is about to expire. Self-signed: clients know it by its digest.
 */
export async function loadCertificate(store: ValueStore, host: string, unixMs: number): Promise<CertifiedKey> {
  const [cert, key] = ['relay-cert', 'relay-cert-key'].map(name => store.load(name));
  if (cert !== undefined && key !== undefined) {
    const kept = { cert: utf8Decode(cert, 0, cert.length), key: utf8Decode(key, 0, key.length) };
    if (isGood(kept.cert, host, unixMs)) return kept;
  }
  const made = await makeCertificate(host, unixMs);
  store.save('relay-cert-key', utf8Encode(made.key));
  store.save('relay-cert', utf8Encode(made.cert));
  return made;
}

/** What a client pins: SHA-256 of the first certificate's DER form, in hex. */
export function certificateDigest(cert: string): string {
  return createHash('sha256').update(new X509Certificate(cert).raw).digest('hex');
}

function isGood(cert: string, host: string, unixMs: number): boolean {
  try {
    const read = new X509Certificate(cert);
    const isFor = isAddress(host) ? read.checkIP(host) : read.checkHost(host);
    return isFor !== undefined && Date.parse(read.validTo) - unixMs > RENEW_MS;
  } catch {
    return false;
  }
}

/** One certificate, no chain: clients that pin refuse a second one. */
async function makeCertificate(host: string, unixMs: number): Promise<CertifiedKey> {
  const x509 = await loadX509();
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: Buffer.from(serial).toString('hex'),
    name: 'CN=motenet relay',
    notBefore: new Date(unixMs - BACKDATE_MS),
    notAfter: new Date(unixMs + LIFE_MS),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: isAddress(host) ? 'ip' : 'dns', value: host }]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const lines = key.match(/.{1,64}/g)!.join('\n');
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  };
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^[0-9.]+$/.test(host);
}

/** Loaded when it is needed: its container of services wants `reflect-metadata` to be there first. */
async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(crypto as never);
  return x509;
}
