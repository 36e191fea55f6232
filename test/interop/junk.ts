/**
 * Junk initiations that carry a valid MAC1: what an attacker who knows only the public key can send, and what cookies are
 * for (WireGuard §5.3). Each costs the receiver a Diffie-Hellman before it proves to be junk.
 */
import { randomFillSync } from 'node:crypto';
import { blake2s } from '@noble/hashes/blake2.js';

/** `count` different ones for the receiver with this public key (base64). */
export function makeJunk(publicKey: string, count: number): Buffer[] {
  const label = Buffer.from('mac1----');
  const key = blake2s(Buffer.concat([label, Buffer.from(publicKey, 'base64')]));
  return Array.from({ length: count }, () => {
    const message = Buffer.alloc(148);
    randomFillSync(message, 4, 112);
    message.writeUInt32LE(1, 0);
    message.set(blake2s(message.subarray(0, 116), { key, dkLen: 16 }), 116);
    return message;
  });
}
