/**
 * `genkey`, `pubkey`, `genpsk`: the same output and the same exit codes as `wg` gives (wg(8)), so that scripts can take
 * either. A private key on standard input may be followed by white space, and by nothing else.
 */
import { fstatSync } from 'node:fs';
import { toBase64 } from '../../lib/base/bytes.ts';
import { parseKey, SecretKey } from '../../lib/crypto/keys.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { RunError } from './errors.ts';

const KEY_CHARACTERS = 44;

/** A new private key in base64. */
export function genkey(random: (out: Uint8Array) => void): string {
  return SecretKey.generate(random).toBase64();
}

/** A new preshared key in base64: 32 random bytes. */
export function genpsk(random: (out: Uint8Array) => void): string {
  const bytes = new Uint8Array(32);
  random(bytes);
  return toBase64(bytes);
}

/** The public key for what standard input held. RunError (exit code 1, as `wg`) without showing any of it. */
export function pubkey(input: string, suite: CryptoSuite): string {
  const key = input.slice(0, KEY_CHARACTERS);
  const rest = input.slice(KEY_CHARACTERS);
  if (key.length < KEY_CHARACTERS)
    throw new RunError(
      `pubkey expected a private key of 44 characters on standard input, got ${input.trimEnd().length}: \`motenet genkey\` makes one`,
    );
  const bytes = parseKey(key);
  if (bytes === undefined)
    throw new RunError('pubkey expected a private key in base64 on standard input, got 44 characters that are not one');
  if (/[^\s\0]/.test(rest))
    throw new RunError('pubkey expected nothing but white space behind the private key on standard input');
  const out = new Uint8Array(32);
  suite.publicKey(out, bytes);
  bytes.fill(0);
  return toBase64(out);
}

/** A warning when standard output is a file that others can read; undefined otherwise. */
export function outputWarning(fd: number): string | undefined {
  if (process.platform === 'win32') return undefined;
  const stat = fstatSync(fd);
  if (!stat.isFile() || (stat.mode & 0o077) === 0) return undefined;
  const mode = (stat.mode & 0o777).toString(8);
  return `warning: the key goes to a file that others can read (mode ${mode}): run umask 077 before, or chmod 600 the file`;
}
