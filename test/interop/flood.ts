/**
 * A flood of junk initiations (junk.ts) from any number of local addresses, as a program of its own.
 */
import { createSocket, type Socket } from 'node:dgram';
import { type Json, serveJsonLines } from './json-lines.ts';
import { makeJunk } from './junk.ts';

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
