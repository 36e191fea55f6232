/** Two motes in one process, a tunnel over loopback between them, and what the tests of Node's packages share. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { Mote } from '../../lib/mote/mote.ts';
import { host, up } from '../../targets/node/index.ts';
import { createServer, type MoteServer } from '../../targets/node/server.ts';

/** The addresses inside the tunnel. */
export const NEAR = '10.77.0.1';
export const FAR = '10.77.0.2';

/** A key and a certificate for `web.test` and {@link FAR}; they protect nothing. */
export const TLS = {
  key: readFileSync(new URL('../fixtures/test-only.key.pem', import.meta.url)),
  cert: readFileSync(new URL('../fixtures/test-only.cert.pem', import.meta.url)),
};

/** Two motes that are each other's peer. */
export async function pair(): Promise<{ near: Mote; far: Mote; close(): Promise<void> }> {
  const make = (address: string) =>
    up({ privateKey: SecretKey.generate(host.random), addresses: [`${address}/24`], hosts: { 'web.test': FAR } });
  const near = await make(NEAR);
  const far = await make(FAR);
  near.addPeer({ publicKey: far.publicKey, allowedIPs: [`${FAR}/32`], endpoint: `127.0.0.1:${far.listenPort}` });
  far.addPeer({ publicKey: near.publicKey, allowedIPs: [`${NEAR}/32`], endpoint: `127.0.0.1:${near.listenPort}` });
  return {
    near,
    far,
    close: async () => {
      await near.close();
      await far.close();
    },
  };
}

/** Makes a service on this machine reachable on a port of the mote. */
export async function expose(mote: Mote, port: number, localPort: number): Promise<MoteServer> {
  const server = createServer(mote, { allowHalfOpen: true }, socket => {
    const local = net.connect({ port: localPort, host: '127.0.0.1', allowHalfOpen: true });
    socket.pipe(local).pipe(socket);
    socket.on('error', () => local.destroy());
    local.on('error', () => socket.destroy());
  });
  await new Promise<void>(resolve => server.listen(port, () => resolve()));
  return server;
}

/** Hex SHA-256 of bytes. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes that do not compress and do not repeat soon. */
export function noise(length: number): Buffer {
  const out = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i + 4 <= length; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out.writeUInt32LE(state, i);
  }
  return out;
}

/** Resolves with the arguments of the next event; rejects when `error` comes first. */
export function once(emitter: NodeJS.EventEmitter, event: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    emitter.once(event, (...args: unknown[]) => resolve(args));
    if (event !== 'error') emitter.once('error', reject);
  });
}

/** What a promise gives, or a rejection after `ms`: a hanging test says which one it is. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
