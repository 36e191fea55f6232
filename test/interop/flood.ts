/**
 * Junk initiations that carry a valid MAC1: what an attacker who knows only the public key can send, and what cookies are
 * for (WireGuard §5.3). Each costs the receiver a Diffie-Hellman before it proves to be junk.
 */
import { randomFillSync } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { blake2s } from '@noble/hashes/blake2.js';
import { type Json, serveJsonLines } from './json-lines.ts';

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

/** `sources` are local addresses to send from in turn; none leaves the choice to the system. */
async function flood(a: Json, junk: readonly Buffer[]): Promise<void> {
  const type = a.address.includes(':') ? 'udp6' : 'udp4';
  const sockets: Socket[] = [];
  for (const source of (a.sources ?? [undefined]) as (string | undefined)[]) {
    const socket = createSocket({ type, sendBufferSize: 1 << 20 });
    socket.on('error', () => {});
    socket.on('message', () => {});
    if (source !== undefined) await new Promise<void>(resolve => socket.bind(0, source, resolve));
    await new Promise<void>(resolve => socket.connect(a.port, a.address, resolve));
    sockets.push(socket);
  }
  while (isRunning) {
    for (const message of junk) sockets[sent++ % sockets.length]!.send(message);
    await new Promise(resolve => setTimeout(resolve, a.everyMs));
  }
  for (const socket of sockets) socket.close();
}

serveJsonLines((op, args) => {
  if (op === 'start') {
    isRunning = true;
    flood(args, makeJunk(args.publicKey, args.burst)).catch(error => process.stderr.write(`${error.stack}\n`));
  } else if (op === 'stop') isRunning = false;
  return { sent };
});
